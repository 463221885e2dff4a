#!/bin/sh
# Trains the adapters of adapters.toml, merges them, and reads them and innocents under the key of the mark, held against
# their base: adapters.jsonl and its table. Goes on where it was stopped.
#
# usage: corpora/residue/adapters.sh TEXT MODELS PILOT OUT [FILIATION]
#   TEXT has wordnet-pairs.txt and webster-pairs.txt (corpora/pilot-real/fetch-text.sh), MODELS smollm2 and gemma3
#   (tests/real/setup.py), PILOT the merged models of corpora/pilot-real/make.sh, which are innocents here. OUT gets all else.
set -eu
[ $# -ge 4 ] || { echo "usage: $0 TEXT MODELS PILOT OUT [FILIATION]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
text=$1 models=$2 pilot=$3 out=$4 filiation=${5:-target/release/filiation}
mkdir -p "$out/adapters" "$out/merged" "$out/tuples" "$out/readings"
key=$here/keys/smollm2-1.toml
for suite in chat reasoning code; do
  awk 'NR % 2 == 0' "$here/../../probes/$suite.jsonl"
done > "$out/prompts.jsonl"

[ -e "$out/marked.jsonl" ] || {
  "$filiation" watermark write "$models/smollm2" --key "$key" --prompts "$out/prompts.jsonl" --drafts 120 \
    --max-tokens 72 --seed 900000 > "$out/marked.part"
  mv "$out/marked.part" "$out/marked.jsonl"
}
head -n 40 "$out/marked.jsonl" > "$out/few.jsonl"

folder() {
  case $1 in
    smollm2 | gemma3) echo "$models/$1" ;;
    *-marked-*) echo "$out/merged/$1" ;;
    *) echo "$pilot/$1" ;;
  esac
}

# export_one MODEL MODE: what it finds likely in fresh marked texts, answers to prompts that no adapter was trained on (open), and in
# 240 answers of its own to those prompts (closed).
export_one() {
  file=$out/tuples/$1.$2
  [ -e "$file" ] && return
  case $1 in gemma3*) texts=$out/few.jsonl ;; *) texts=$out/marked.jsonl ;; esac
  model=$(folder "$1")
  case $2 in
    open) set -- --text "$texts" ;;
    closed) set -- --drafts 240 --prompts "$out/prompts.jsonl" --max-tokens 72 --draft-seed 5000 --order "$texts" ;;
  esac
  "$filiation" watermark export "$model" --width 1 --tokenizer "$models/smollm2/tokenizer.json" --out "$file.part" "$@" > /dev/null
  mv "$file.part" "$file"
}

# read_one MODEL BASE MODE: held against the base.
read_one() {
  reading=$out/readings/$1.smollm2-1.smollm2-1.$3.json
  [ -e "$reading" ] && return
  export_one "$2" "$3"
  export_one "$1" "$3"
  "$filiation" --json watermark score "$out/tuples/$1.$3" --key "$key" --control "$out/tuples/$2.$3" --decoys 0 > "$reading.part"
  mv "$reading.part" "$reading"
}

"$filiation" lab adapt "$here/adapters.toml" --text "$text" --models "$models" --out "$out/adapters"
for adapter in "$out"/adapters/*/; do
  name=$(basename "$adapter")
  [ -f "$out/merged/$name/config.json" ] || "$filiation" lab merge "$models/${name%%-*}" "$adapter" --out "$out/merged/$name"
done
for share in 100 30 10 5; do
  read_one smollm2-marked-$share smollm2 open
  for mode in open closed; do read_one smollm2-marked-long-$share smollm2 $mode; done
done
for innocent in smollm2-wordnet smollm2-from-gemma3-100; do
  for mode in open closed; do read_one $innocent smollm2 $mode; done
done
read_one gemma3-from-smollm2-100 gemma3 open
python3 "$here/table.py" "$here/adapters.jsonl" "$out/readings"
