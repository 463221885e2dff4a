"""Holds the models of this set, and other copies of the two, against each other by their weights.

    python corpora/pilot-real/lineage.py MODELS OUT > corpora/pilot-real/lineage.jsonl
    python corpora/pilot-real/lineage.py --table corpora/pilot-real/lineage.jsonl

MODELS is what tests/real/setup.py makes, OUT what make.sh fills. `filiation` must be on the path, or its place in FILIATION.
Pairs that standard output's file has already (given as a third argument) are not asked again.
"""

import itertools
import json
import os
import pathlib
import subprocess
import sys

# All hold SmolLM2's weights in some form: of other precision, quantised, disguised, merged.
COPIES = ["", "-awq", "-bf16", "-f16-gguf", "-fp8", "-gguf", "-gptq", "-merged", "-merged-bf16", "-noise", "-permuted"]
COPIES = ["smollm2" + copy for copy in COPIES]
STRANGERS = ["gemma3", "gemma3-gguf", "smollm2-random"]


def pairs(out):
    """Pairs of folder names with whether the two are related."""
    tuned = sorted(p.name for p in (out / "adapters").iterdir())
    of = lambda base: [t for t in tuned if t.startswith(base)]
    related = list(itertools.combinations(COPIES, 2)) + [("gemma3-gguf", "gemma3")]
    related += [(t, "smollm2") for t in of("smollm2")] + [(t, "gemma3") for t in of("gemma3")]
    unrelated = list(itertools.product(COPIES + of("smollm2"), STRANGERS))
    unrelated += list(itertools.product(of("gemma3"), ["smollm2", "smollm2-gguf", "smollm2-gptq", "smollm2-awq", "smollm2-fp8", "smollm2-random"]))
    unrelated += [("gemma3", "smollm2-random"), ("gemma3-gguf", "smollm2-random")]
    return [(a, b, True) for a, b in related] + [(a, b, False) for a, b in unrelated]


def ask(models, out, a, b):
    place = lambda name: str((models if (models / name).exists() else out) / name)
    command = [os.environ.get("FILIATION", "filiation"), "lineage", place(a), place(b), "--json"]
    said = subprocess.run(command, capture_output=True, text=True)
    if said.returncode != 0:
        sys.exit(f"`{a}` against `{b}`: {said.stderr.strip()}")
    statistic = json.loads(said.stdout)["outcome"]["statistic"]
    details = statistic["details"]
    log10_p = min(details["shared_neurons_log10_p"], details.get("sketch_log10_p", 0.0))
    return {"score": round(statistic["candidates"][0]["score"], 6), "log10_p": round(log10_p, 3), "finding": statistic["finding"]}


def table(lines):
    related = [l for l in lines if l["related"]]
    unrelated = [l for l in lines if not l["related"]]
    quantised = lambda l: any(w in name for name in l["pair"] for w in ["awq", "gptq", "fp8", "gguf"])
    for word, of in [("score", lambda l: l["score"]), ("-log10 p", lambda l: -l["log10_p"])]:
        ours, theirs = [of(l) for l in related], [of(l) for l in unrelated]
        auc = sum((a > b) + (a == b) / 2 for a in ours for b in theirs) / len(ours) / len(theirs)
        bar = sorted(theirs, reverse=True)[len(theirs) // 100]
        found = sum(a > bar for a in ours) / len(ours)
        print(f"{word}: {len(ours)} related, least {min(ours):.4g}; {len(theirs)} unrelated, greatest {max(theirs):.4g}; AUC {auc:.4f}; found where 1 % are accused {100 * found:.1f} %")
    kin = lambda l: l["finding"] is not None and l["finding"].split(";")[0] in ("same model", "derived")
    print(f"found to be kin: {sum(map(kin, related))} of {len(related)} related ({sum(kin(l) for l in related if quantised(l))} of {sum(map(quantised, related))} with a quantised copy), {sum(map(kin, unrelated))} of {len(unrelated)} unrelated")


def main():
    if sys.argv[1] == "--table":
        return table([json.loads(l) for l in open(sys.argv[2], encoding="utf-8")])
    models, out = map(pathlib.Path, sys.argv[1:3])
    known = {}
    if len(sys.argv) > 3:
        known = {tuple(l["pair"]): l for l in map(json.loads, open(sys.argv[3], encoding="utf-8"))}
    for a, b, related in pairs(out):
        line = known.get((a, b)) or {"pair": [a, b], "related": related, **ask(models, out, a, b)}
        print(json.dumps(line), flush=True)


main()
