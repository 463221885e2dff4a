#!/bin/sh
# Trains the models of recipe.toml and reads each under the keys of its cell: results.jsonl and the table of
# docs/watermarks.md. Goes on where it was stopped.
#
# usage: corpora/residue/make.sh TEXT OUT [FILIATION]
#   TEXT has wordnet.txt and webster.txt (corpora/demo/fetch-text.sh), OUT gets models, texts and readings.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 TEXT OUT [FILIATION]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
text=$1 out=$2 filiation=${3:-target/release/filiation}
mkdir -p "$out/texts" "$out/tuples" "$out/readings" "$out/keys"
"$filiation" lab train "$here/recipe.toml" --text "$text" --out "$out/models"

# write MARK: texts of the teacher under its key, none of which a student learned from.
write() {
  file=$out/texts/$1.jsonl
  [ -e "$file" ] && return
  "$filiation" watermark write "$out/models/teacher" --key "$here/keys/$1.toml" \
    --drafts 800 --max-tokens 58 --seed 900000 > "$file.part"
  mv "$file.part" "$file"
}

# export_one MODEL MARK MODE: what the model does after each window; open, of the texts; closed, in 800 that it writes;
# closed-N, in N.
export_one() {
  file=$out/tuples/$1.$2.$3
  [ -e "$file" ] && return
  case $3 in
    open) set -- "$@" --text "$out/texts/$2.jsonl" ;;
    closed) set -- "$@" --drafts 800 --max-tokens 58 --draft-seed 5000 --order "$out/texts/$2.jsonl" ;;
    closed-*) set -- "$@" --drafts "${3#closed-}" --max-tokens 58 --draft-seed 5000 --order "$out/texts/$2.jsonl" ;;
  esac
  of_model=$1 width=${2##*-}
  shift 3
  "$filiation" watermark export "$out/models/$of_model" --width "$width" --windows 2000 --likely 32 \
    --out "$file.part" "$@" > /dev/null
  mv "$file.part" "$file"
}

# read_one MODEL MARK [KEY [MODES]]: held against a clean student of the same texts by people.
read_one() {
  write "$2"
  key=${3:-$here/keys/$2.toml}
  of=$(basename "$key" .toml)
  for mode in ${4:-open closed}; do
    reading=$out/readings/$1.$2.$of.$mode.json
    [ -e "$reading" ] && continue
    export_one clean-0-1 "$2" "$mode"
    export_one "$1" "$2" "$mode"
    "$filiation" --json watermark score "$out/tuples/$1.$2.$mode" --key "$key" \
      --control "$out/tuples/clean-0-1.$2.$mode" --decoys 39 > "$reading.part"
    mv "$reading.part" "$reading"
  done
}

for mark in kgw-1 kgw-2; do
  for i in 1 2 3 4 5 6 7 8 9 10; do read_one "ten-$mark-5-$i" "$mark"; done
done
for mark in kgw-1 kgw-2 kgw-4 gumbel-1 gumbel-2 gumbel-4 synthid-1 synthid-2 synthid-4; do
  for share in 100 30 10 5 1; do read_one "student-$mark-$share" "$mark"; done
done
# Innocents, under the key of the texts and under four others. The first of the clean ones is the control.
for mark in kgw-1 kgw-2; do
  mkdir -p "$out/keys/$mark"
  for n in 1 2 3 4; do
    sed "s/^key = .*/key = \"8820417$n\"/" "$here/keys/$mark.toml" > "$out/keys/$mark/other-$n.toml"
  done
  for i in 1 2 3 4 5 6 7 8 9 10; do
    for model in "clean-0-$((i + 1))" "unmarked-100-$i"; do
      read_one "$model" "$mark"
      for n in 1 2 3 4; do read_one "$model" "$mark" "$out/keys/$mark/other-$n.toml"; done
    done
  done
done
# long MARK: the length of the long reading.
long() { case $1 in *-1) echo closed-3200 ;; *) echo closed-25600 ;; esac; }

# innocents MARK: a hundred models more that saw nothing under its key: of no teacher, or of one that marks under other keys.
innocents() {
  for n in $(seq 50); do echo "innocent-wordnet-0-$n"; done
  for n in $(seq 6); do echo "innocent-webster-0-$n"; done
  for other in kgw-1 kgw-2 kgw-4 gumbel-1 gumbel-2 gumbel-4 synthid-1 synthid-2 synthid-4; do
    [ "$other" = "$1" ] || for share in 100 30 10 5 1; do echo "student-$other-$share"; done
  done
  case $1 in kgw-1) ten=kgw-2 ;; *) ten=kgw-1 ;; esac
  for i in $(seq 10); do echo "ten-$ten-5-$i"; done
}
for mark in kgw-1 kgw-2; do
  for innocent in $(innocents $mark); do read_one "$innocent" "$mark"; done
done
# How the evidence grows with what is written: of two students that are not among the ten.
for n in 1600 3200 6400 12800; do
  for mark in kgw-1 kgw-2; do read_one "student-$mark-5" "$mark" "" "closed-$n"; done
done
# By that, 3,200 texts for a window of one token and 25,600 for one of two: the ten of each, and the hundred.
for mark in kgw-1 kgw-2; do
  for i in 1 2 3 4 5 6 7 8 9 10; do read_one "ten-$mark-5-$i" "$mark" "" "$(long "$mark")"; done
done
for mark in kgw-4 gumbel-1 gumbel-2 gumbel-4 synthid-1 synthid-2 synthid-4; do
  for i in 1 2 3 4 5 6 7 8 9 10; do
    for model in "clean-0-$((i + 1))" "unmarked-100-$i"; do read_one "$model" "$mark"; done
  done
done
for mark in kgw-1 kgw-2; do
  for innocent in $(innocents $mark); do read_one "$innocent" "$mark" "" "$(long "$mark")"; done
done
python3 "$here/table.py" "$here/results.jsonl" "$out/readings"
