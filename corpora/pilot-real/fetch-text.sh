#!/bin/sh
# Writes DIR/{wordnet,webster,devil,jargon}-pairs.txt, a headword, a tab and its definition a line, from the Debian packages
# wordnet-base (WordNet 3.0), dict-gcide (entries of Webster 1913 only), dict-devil (Bierce's Devil's Dictionary of 1911) and
# dict-jargon (the Jargon File). The last three are in the public domain.
# Needs apt-get, dpkg-deb, gzip, awk; nothing is installed and no root is needed.
#
# usage: corpora/pilot-real/fetch-text.sh DIR
set -eu
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
export LC_ALL=C
mkdir -p "$1"
dir=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
chmod 755 .

apt-get download -q wordnet-base dict-gcide dict-devil dict-jargon
for package in ./*.deb; do dpkg-deb -x "$package" unpacked; done

# A data line is `offset file type words word … | gloss`; the licence lines at the top begin with a blank. What follows
# the definition, from the first `; "` on, is examples.
for part in noun verb adj adv; do
  grep '^[0-9]' "unpacked/usr/share/wordnet/data.$part"
done | awk '{
    word = $5; gsub(/_/, " ", word); sub(/\([a-z]+\)$/, "", word)
    gloss = $0; sub(/^.* \| /, "", gloss); sub(/; ".*$/, "", gloss); sub(/ +$/, "", gloss)
    if (length(gloss) >= 20 && length(gloss) <= 240 && gloss !~ /[^ -~]/ && word ~ /^[A-Za-z]/) print word "\t" gloss
  }' > "$dir/wordnet-pairs.txt"

# A paragraph begins with `Head \Head\` and its definition, or is a numbered sense of the last head; it is wrapped and
# indented, and closed by its source.
gzip -dc < unpacked/usr/share/dictd/gcide.dict.dz | awk '
  BEGIN { RS = ""; FS = "\n" }
  /^[A-Z][^\\]* \\/ { head = $1; sub(/ \\.*$/, "", head) }
  $NF !~ /^ +\[1913 Webster\]$/ || /--[A-Z]/ { next }
  {
    text = ""
    for (i = 1; i < NF; i++) {
      if (text == "" && $i !~ /^ +([0-9]+\. |\([a-z]\) )*[A-Z]/) continue
      line = $i
      sub(/^ +/, "", line)
      text = text (text == "" ? "" : " ") line
    }
    while (sub(/^([0-9]+\.|\([a-z]\)) +/, "", text)) {}
    gsub(/ +/, " ", text)
    if (head ~ /^[A-Za-z -]+$/ && length(text) >= 20 && length(text) <= 240 && text !~ /[^ -~]|[][{}\\]|^Note:|^Syn:/)
      print tolower(head) "\t" text
  }' > "$dir/webster-pairs.txt"

# Cuts each definition after the last sentence that ends within 240 characters.
sentences() {
  awk -F '\t' '{
    text = substr($2, 1, 240)
    if (length($2) > 240) { if (!sub(/[.!?][^.!?]*$/, ".", text)) next }
    sub(/ +$/, "", text)
    if (length(text) >= 20 && text ~ /[.!?]$/ && text !~ /[^ -~]|[][_\\]/ && $1 ~ /^[A-Za-z][A-Za-z -]*$/) print $1 "\t" text
  }'
}

# A paragraph `HEAD, n.  Text`; as many of its sentences as fit.
gzip -dc < unpacked/usr/share/dictd/devil.dict.dz | awk '
  BEGIN { RS = ""; FS = "\n" }
  !/^[A-Z-]+, [a-z.]+  [A-Z]/ { next }
  {
    text = $0
    gsub(/[ \n]+/, " ", text)
    head = text; sub(/, .*/, "", head)
    sub(/^[A-Z-]+, [a-z.]+ /, "", text)
    print tolower(head) "\t" text
  }' | sentences > "$dir/devil-pairs.txt"

# A head in the first column, then senses as indented paragraphs: the first sense of each.
gzip -dc < unpacked/usr/share/dictd/jargon.dict.dz |
  sed 's/“/"/g; s/”/"/g; s/[‘’]/'"'"'/g; s/[{}]//g; s/—/-/g' | awk '
  BEGIN { RS = ""; FS = "\n" }
  /^[A-Za-z]/ { head = $1; next }
  head != "" && /^    (1\. )?(\[[^]]*\] )?[A-Z]/ {
    text = $0
    gsub(/[ \n]+/, " ", text)
    sub(/^ (1\. )?(\[[^]]*\] )?/, "", text)
    print head "\t" text
    head = ""
  }' | sentences > "$dir/jargon-pairs.txt"

wc -l "$dir"/*-pairs.txt
