"""Asks of twelve models whether they depend on what a teacher served: regeneration-rank on the logs of `lab served`.

    python corpora/pilot-real/served.py OUT RUNS

OUT is what make.sh fills; RUNS gets logs, cases and runs, and a second call goes on where the first was stopped. `filiation` must be on
the path, or its place in FILIATION. For each log the student whose log it is, the student of that teacher's sibling (asked the same
prompts) and an innocent. Prints a row a model.
"""

import itertools
import json
import os
import pathlib
import subprocess
import sys

FILIATION = os.environ.get("FILIATION", "filiation")
HERE = pathlib.Path(__file__).absolute().parent
# The last log that is written of each recipe.
LAST = {"recipe": "gemma3-from-smollm2-30", "longer": "gemma3-from-smollm2-jargon-30-long"}
FAMILIES = [("smollm2", "gemma3", "gemma3-devil"), ("gemma3", "smollm2", "smollm2-jargon")]


def case(suspect, base, teachers, log, out):
    place = lambda name: f'{{ name = "{name}", path = "{out / name}" }}'
    return f"""name = "served-{suspect}"
suspect = {place(suspect)}
base = {place(base)}
teachers = [{", ".join(map(place, teachers))}]
siblings = [{json.dumps(teachers)}]
probes = ["regeneration-rank"]
suites = ["{HERE.parent.parent / "probes/chat.jsonl"}"]
raw = true
max_tokens = 40
samples = 1
seed = 1
found_by = "named-in-advance"
served = [{{ teacher = "{teachers[0]}", log = "{log}", regenerations = 9 }}]
"""


def row(report, suspect, teacher):
    outcome = json.loads(report.read_text())["probes"][0]["outcome"]
    if "statistic" not in outcome:
        return f"| `{suspect}` | abstains | | |"
    [found] = [c for c in outcome["statistic"]["candidates"] if c["candidate"] == teacher]
    at, exact = found["interval"], found["exact"]
    return (f"| `{suspect}` | {found['units']} | {found['score']:+.2f} [{at['lower']:+.2f}, {at['upper']:+.2f}] "
            f"| {exact['log10_p']:.1f} | {exact['log10_e']:.1f} |")


def main():
    out, runs = (pathlib.Path(a).absolute() for a in sys.argv[1:])
    runs.mkdir(parents=True, exist_ok=True)
    logs = runs / "logs"
    for recipe, last in LAST.items():
        if (logs / f"{last}.jsonl").exists():
            continue
        served = ["lab", "served", HERE / f"{recipe}.toml", "--models", out, "--out", logs]
        subprocess.run([FILIATION, *map(str, served)], check=True, stdout=subprocess.DEVNULL)
    print("| suspect | pairs | lead | log10 p | log10 e |\n|---|---|---|---|---|")
    for (base, teacher, sibling), form in itertools.product(FAMILIES, ["-long", ""]):
        own = f"{base}-from-{teacher}-30{form}"
        for suspect in [own, f"{base}-from-{sibling}-30{form}", f"{base}-both{form}"]:
            file, run = runs / f"{suspect}.toml", runs / suspect
            file.write_text(case(suspect, base, [teacher, sibling], logs / f"{own}.jsonl", out))
            audit = ["audit", file, "--run", run, "--answers", runs / "answers"]
            subprocess.run([FILIATION, *map(str, audit)], check=True, stdout=subprocess.DEVNULL)
            print(row(run / "report.json", suspect, teacher), flush=True)


main()
