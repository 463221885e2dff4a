"""How many completions a verdict of e >= 1000 takes: audits every student that did not hide, of models trained by evasive.toml.

    python corpora/population/stopping.py MODELS RUNS

`filiation` must be on the path, or its place in FILIATION. One completion a prompt. Candidates are the teacher, its sibling, and the first of the next pair;
controls are four clean fine-tunes of other lineages. Finished audits in RUNS are read, not made again.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

SUITE = pathlib.Path(__file__).absolute().parent.parent.parent / "probes" / "openings.jsonl"
TEACHERS = [f"teacher-{i}" for i in range(1, 9)]
CONTROLS = [f"clean-{i:03}-suspect-1" for i in range(1, 5)]


def audit(models, runs, suspect, teacher):
    at = TEACHERS.index(teacher)
    candidates = [teacher, TEACHERS[at ^ 1], TEACHERS[(at // 2 * 2 + 2) % 8]]
    run = runs / suspect
    command = [os.environ.get("FILIATION", "filiation"), "audit", models / suspect, "--base", models / suspect.removesuffix("-suspect-1")]
    for option, names in [("--teacher", candidates), ("--control", CONTROLS)]:
        for name in names:
            command += [option, models / name]
    command += ["--suite", SUITE, "--probe", "tlu-did", "--seed", "1", "--max-tokens", "40", "--samples", "1", "--stop-at-e", "1000", "--run", run, "--json"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{suspect}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main():
    models, runs = map(pathlib.Path, sys.argv[1:])
    runs.mkdir(parents=True, exist_ok=True)
    bought = []
    print(f"{'suspect':28}{'teacher':12}{'share':>7}{'effect':>8}{'log10 e':>9}{'completions of each teacher':>29}")
    for folder in sorted(models.glob("plain-*-suspect-1")):
        known = json.loads((folder / "lineage.json").read_text())
        teacher, share = next((p["model"], p["tie"]["distilled-from"]["share"]) for p in known["parents"] if "distilled-from" in p["tie"])
        report = audit(models, runs, folder.name, teacher)
        probe = next(p for p in report["probes"] if p["method"].startswith("tlu-did/"))
        found = probe["outcome"]["statistic"]
        own = next(c for c in found["candidates"] if c["candidate"] == teacher)
        details = found["details"]
        e, prompts = details[f"log10-e/{teacher}"], int(details["prompts-bought"])
        print(f"{folder.name:28}{teacher:12}{share:7.0%}{own['effect']:8.2f}{e:9.2f}{prompts:29}")
        if own["effect"] >= 0.3:
            bought.append((prompts, e >= 3))
    reached = sum(r for _, r in bought)
    print(f"effect >= 0.3: {len(bought)} students, {reached} reached e >= 1000, median of completions {statistics.median(n for n, _ in bought)}")


main()
