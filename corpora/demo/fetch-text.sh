#!/bin/sh
# Writes DIR/wordnet.txt and DIR/webster.txt, one definition a line, from the Debian packages
# wordnet-base (WordNet 3.0) and dict-gcide (paragraphs of Webster 1913 only, which are in the
# public domain). Needs apt-get, dpkg-deb, gzip, awk; nothing is installed and no root is needed.
#
# usage: corpora/demo/fetch-text.sh DIR
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

# A data line ends in ` | gloss`; the licence lines at the top begin with a blank.
for part in noun verb adj adv; do
  sed -n 's/^[0-9]\{8\} .* | //p' "unpacked/usr/share/wordnet/data.$part"
done | awk '{ sub(/ +$/, "") } length >= 20 && length <= 400 && !/[^ -~]/' > "$dir/wordnet.txt"

# A paragraph is a headword, or a numbered sense, wrapped and indented, closed by its source.
gzip -dc < unpacked/usr/share/dictd/gcide.dict.dz | awk '
  BEGIN { RS = ""; FS = "\n" }
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
    if (length(text) >= 20 && length(text) <= 400 && text !~ /[^ -~]|[][{}\\]|^Note:|^Syn:/) print text
  }' > "$dir/webster.txt"
wc -l "$dir/wordnet.txt" "$dir/webster.txt"
