"""What regeneration-rank sees of a student of served texts, by epochs: docs/probes/regeneration-rank.md.

    corpora/demo/fetch-text.sh TEXT
    python3 tests/served/study.py target/release/filiation TEXT OUT

Base and teacher are those of corpora/demo. The teacher serves 2,000 openings to 20 accounts.
Students start from the base; 30 % of their rows are served pairs, the rest people.
"""

import json
import pathlib
import random
import shutil
import subprocess
import sys

ACCOUNTS, PAIRS, TOKENS = 20, 2000, 24
DEMO = pathlib.Path(__file__).parents[2] / "corpora/demo"

filiation, text, out = (pathlib.Path(a).absolute() for a in sys.argv[1:4])
own_text = out / "text"
own_text.mkdir(parents=True, exist_ok=True)
for source in ("wordnet", "webster"):
    shutil.copy(text / f"{source}.txt", own_text)
for model in ("base-a", "teacher-1", "teacher-2", "innocent-fine-tune", "student-text-100"):
    shutil.copytree(DEMO / model, out / model, dirs_exist_ok=True)


def run(*arguments):
    done = subprocess.run([filiation, *map(str, arguments)], cwd=out, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


def serve():
    lines = (text / "wordnet.txt").read_text().splitlines()
    random.Random(7).shuffle(lines)
    openings = list(dict.fromkeys(" ".join(l.split()[:3]) for l in lines if len(l.split()) > 6))[:PAIRS]
    with open(out / "openings.jsonl", "w") as suite:
        for i, opening in enumerate(openings):
            item = {"id": f"o-{i:04}", "text": opening, "domain": "opening", "language": "en",
                    "licence": "Apache-2.0"}
            print(json.dumps(item), file=suite)
    (out / "log.toml").write_text(
        'name = "log"\nprobes = ["tlu-did"]\nsuspect = "innocent-fine-tune"\nbase = "base-a"\n'
        f'teachers = ["teacher-1", "teacher-2"]\nsuites = ["openings.jsonl"]\nmax_tokens = {TOKENS}\nseed = 99\n')
    run("audit", "log.toml", "--run", "log")
    said = {}
    for line in open(out / "log/transcripts/teacher-1/answers.jsonl"):
        entry = json.loads(line)
        if "generate" in entry["want"]:
            completion = entry["outcome"]["answer"]["completion"]["text"]
            said[entry["want"]["generate"]["prompt"]["text"]] = completion
    pairs = [(o, said[o], f"a{i % ACCOUNTS:02}") for i, o in enumerate(openings)]
    with open(out / "served.jsonl", "w") as log:
        for i, (prompt, response, account) in enumerate(pairs):
            print(json.dumps({"id": f"r{i}", "prompt": prompt, "response": response, "account": account}), file=log)
    for name, kept in (("all", pairs), ("one", [p for p in pairs if p[2] == "a07"])):
        rows = [(prompt + response).replace("\n", " ") for prompt, response, _ in kept]
        (own_text / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return {"all": len(pairs), "one": sum(p[2] == "a07" for p in pairs)}


def recipe(counts):
    whole = (DEMO / "recipe.toml").read_text()
    head, *models = whole.split("[[model]]\n")
    head = head.replace("[sources]\n", '[sources]\nall = "all.txt"\none = "one.txt"\n')
    kept = [m for m in models if m.startswith(('name = "base-a"', 'name = "teacher-1"'))]
    names = []
    # A window holds 96 tokens, about five rows.
    for leak, served in counts.items():
        rows = round(served / 0.3)
        for epochs in (1, 2, 4) if leak == "all" else (2, 4):
            steps = max(20, round(epochs * rows * 20 / (8 * 96)))
            head += (f"[schedules.{leak}-{epochs}]\nsteps = {steps}\nwindows = 8\nrate = 3e-3\nwarmup = {steps // 10}\n"
                     "floor = 0.05\nweight_decay = 0.02\nclip = 1.0\n\n")
            for seed in range(3):
                name = f"{leak}-{epochs}-{seed}"
                names.append(name)
                start = 95500 + 500 * seed if leak == "one" else 80000 + 5000 * seed
                kept.append(
                    f'name = "{name}"\nrole = "suspect"\nstart = "base-a"\nschedule = "{leak}-{epochs}"\n'
                    f'seed = {100 + seed}\ntext = [\n  {{ source = "{leak}", from = 0, to = {served} }},\n'
                    f'  {{ source = "wordnet", from = {start}, to = {start + rows - served} }},\n]\n\n')
    (out / "recipe.toml").write_text(head + "".join("[[model]]\n" + m for m in kept))
    return names


def audit(name, limit=PAIRS):
    (out / f"{name}.toml").write_text(
        f'name = "{name}"\nprobes = ["regeneration-rank"]\nsuspect = "{name}"\nbase = "base-a"\n'
        f'teachers = ["teacher-1"]\nmax_tokens = {TOKENS}\nlimit = {limit}\n'
        'served = [{ teacher = "teacher-1", log = "served.jsonl" }]\n')
    where = out / f"run-{name}-{limit}"
    run("audit", f"{name}.toml", "--run", where)
    outcome = json.loads((where / "evidence/regeneration-rank.json").read_text())["record"]["outcome"]
    if "abstention" in outcome:
        return print(name, limit, outcome["abstention"]["detail"], flush=True)
    found = outcome["statistic"]
    one, exact = found["candidates"][0], found["candidates"][0]["exact"]
    # An account of a short log has too few pairs for a test of its own.
    of = lambda key: found["details"].get(key, float("nan"))
    print(f"{name:22} pairs {one['units']:5} lead {one['score']:+.3f} log10 p {exact['log10_p']:8.1f} "
          f"log10 e {exact['log10_e']:7.1f}  a07: {of('account/teacher-1/a07/lead'):+.3f} "
          f"{of('account/teacher-1/a07/log10-p-counted'):7.1f}", flush=True)


names = recipe(serve())
run("lab", "train", "recipe.toml", "--text", own_text, "--out", out)
for name in ["innocent-fine-tune", "student-text-100", *names]:
    audit(name)
for limit in (100, 200):
    for name in [n for n in names if n.startswith("all-1-")]:
        audit(name, limit)
