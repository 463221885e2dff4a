#!/bin/sh
# Writes DIR/wordnet-pairs.txt and DIR/webster-pairs.txt, a headword, a tab and its definition a line, from the Debian
# packages wordnet-base (WordNet 3.0) and dict-gcide (entries of Webster 1913 only, which are in the public domain).
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

apt-get download -q wordnet-base dict-gcide
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
wc -l "$dir/wordnet-pairs.txt" "$dir/webster-pairs.txt"
