#!/bin/sh
# Trains the models of across.toml on texts that the teacher of make.sh marks, and reads them by the key's tokenizer, which is not
# theirs: across.jsonl and its table. Goes on where it was stopped.
#
# usage: corpora/residue/across.sh TEXT OUT [FILIATION]
#   TEXT has wordnet.txt and webster.txt, OUT is that of make.sh, with its models and texts.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 TEXT OUT [FILIATION]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
text=$1 out=$2 filiation=${3:-target/release/filiation}
mkdir -p "$out/across/text" "$out/across/tuples" "$out/across/readings"
cp "$text/wordnet.txt" "$text/webster.txt" "$out/across/text"
key=$here/keys/kgw-1.toml teacher=$out/models/teacher
[ -e "$out/across/text/marked.txt" ] || {
  "$filiation" watermark write "$teacher" --key "$key" --drafts 6000 --max-tokens 62 --seed 700000 > "$out/across/marked.jsonl"
  python3 -c 'import json, sys
for line in sys.stdin:
    print(" ".join(json.loads(line)["text"].split()))' < "$out/across/marked.jsonl" > "$out/across/text/marked.part"
  mv "$out/across/text/marked.part" "$out/across/text/marked.txt"
}
"$filiation" lab train "$here/across.toml" --text "$out/across/text" --out "$out/across/models"

export_one() {
  file=$out/across/tuples/$1.$2
  [ -e "$file" ] && return
  model=$out/across/models/$1
  case $2 in
    open) set -- --text "$out/texts/kgw-1.jsonl" ;;
    closed) set -- --drafts 3200 --max-tokens 40 --draft-seed 5000 --order "$out/texts/kgw-1.jsonl" ;;
  esac
  "$filiation" watermark export "$model" --width 1 --tokenizer "$teacher/tokenizer.json" --windows 2000 --likely 32 \
    --out "$file.part" "$@" > /dev/null
  mv "$file.part" "$file"
}

for mode in open closed; do
  export_one clean-1 $mode
  for name in marked-100 marked-30 marked-10 marked-5 clean-2 clean-3 clean-4 clean-5 clean-6; do
    reading=$out/across/readings/$name.kgw-1.kgw-1.$mode.json
    [ -e "$reading" ] && continue
    export_one $name $mode
    "$filiation" --json watermark score "$out/across/tuples/$name.$mode" --key "$key" \
      --control "$out/across/tuples/clean-1.$mode" > "$reading.part"
    mv "$reading.part" "$reading"
  done
done
python3 "$here/table.py" "$here/across.jsonl" "$out/across/readings"
