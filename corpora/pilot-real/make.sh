#!/bin/sh
# Makes the set again from the recipes beside this file, and what an audit of it needs:
#   TEXT    text by people, fetched where it is missing
#   MODELS  smollm2 and gemma3, as tests/real/setup.py makes them
#   OUT     gets adapters/, the merged models, links to the two, and held-out/, the prompts that no student was trained on
#
# usage: corpora/pilot-real/make.sh TEXT MODELS OUT
set -eu
[ $# -eq 3 ] || { echo "usage: $0 TEXT MODELS OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
filiation=${FILIATION:-filiation}
[ -f "$1/webster-pairs.txt" ] || "$here/fetch-text.sh" "$1"
mkdir -p "$3/adapters" "$3/held-out"
for base in smollm2 gemma3; do
  [ -e "$3/$base" ] || ln -s "$(cd "$2/$base" && pwd)" "$3/$base"
done
# Adapters that stand beside the recipes are kept where they agree with them.
for adapter in "$here"/*/adapter_config.json; do
  [ ! -f "$adapter" ] || cp -r "$(dirname "$adapter")" "$3/adapters/"
done
merge() {
  for adapter in "$3"/adapters/*/; do
    name=$(basename "$adapter")
    [ -f "$3/$name/config.json" ] || "$filiation" lab merge "$3/${name%%-*}" "$adapter" --out "$3/$name"
  done
}
"$filiation" lab adapt "$here/recipe.toml" --text "$1" --models "$2" --out "$3/adapters"
merge "$@"
# Merged models are teachers too.
for recipe in students-of-adapters longer; do
  "$filiation" lab adapt "$here/$recipe.toml" --text "$1" --models "$3" --out "$3/adapters"
  merge "$@"
done
for suite in chat reasoning code; do
  awk 'NR % 2 == 0' "$here/../../probes/$suite.jsonl" > "$3/held-out/$suite.jsonl"
done
# The first twenty prompts of each suite that teachers were asked, each with the next line, which they were not, as its twin.
for suite in chat reasoning code; do
  awk 'NR > 40 { exit }
    { sub(/"id": "/, "\"id\": \"seen-"); sub(/"domain": "[a-z]*"/, "\"domain\": \"seen\"") }
    NR % 2 { asked = $0; next }
    { match($0, /"id": "[^"]*"/); sub(/}$/, ", \"twin\": \"" substr($0, RSTART + 7, RLENGTH - 8) "\"}", asked); print asked; print }
  ' "$here/../../probes/$suite.jsonl"
done > "$3/held-out/seen.jsonl"
