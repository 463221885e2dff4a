"""What regeneration-rank sees of a student of served texts, by epochs: docs/probes/regeneration-rank.md.

    corpora/demo/fetch-text.sh TEXT
    python3 tests/served/study.py target/release/filiation TEXT OUT
    python3 tests/served/study.py target/release/filiation TEXT OUT power

Base and teacher are those of corpora/demo. The teacher serves 2,000 openings to 20 accounts.
Students start from the base; 30 % of their rows are served pairs, the rest people.

With `power`: the log in four parts, five students of each part (one epoch, other people and other seeds), each held against
its own part and against the next one, which it did not see.
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


def found(name, limit=PAIRS, log="served"):
    (out / f"{name}.toml").write_text(
        f'name = "{name}"\nprobes = ["regeneration-rank"]\nsuspect = "{name}"\nbase = "base-a"\n'
        f'teachers = ["teacher-1"]\nmax_tokens = {TOKENS}\nlimit = {limit}\n'
        f'served = [{{ teacher = "teacher-1", log = "{log}.jsonl" }}]\n')
    where = out / f"run-{name}-{log}-{limit}"
    run("audit", f"{name}.toml", "--run", where, "--answers", out / "answers")
    return json.loads((where / "evidence/regeneration-rank.json").read_text())["record"]["outcome"]


def audit(name, limit=PAIRS):
    outcome = found(name, limit)
    if "abstention" in outcome:
        return print(name, limit, outcome["abstention"]["detail"], flush=True)
    said = outcome["statistic"]
    one, exact = said["candidates"][0], said["candidates"][0]["exact"]
    # An account of a short log has too few pairs for a test of its own.
    of = lambda key: said["details"].get(key, float("nan"))
    print(f"{name:22} pairs {one['units']:5} lead {one['score']:+.3f} log10 p {exact['log10_p']:8.1f} "
          f"log10 e {exact['log10_e']:7.1f}  a07: {of('account/teacher-1/a07/lead'):+.3f} "
          f"{of('account/teacher-1/a07/log10-p-counted'):7.1f}", flush=True)


PARTS, SEEDS = 4, 5


def parts():
    """The log in parts, without accounts, and five students of each."""
    lines = (out / "served.jsonl").read_text().splitlines()
    # Openings were shuffled before they were served.
    size = len(lines) // PARTS
    whole = (DEMO / "recipe.toml").read_text()
    head, *models = whole.split("[[model]]\n")
    kept = [m for m in models if m.startswith(('name = "base-a"', 'name = "teacher-1"'))]
    rows = round(size / 0.3)
    steps = max(20, round(rows * 20 / (8 * 96)))
    head = head.replace("[sources]\n", "[sources]\n" + "".join(f'part-{p} = "part-{p}.txt"\n' for p in range(PARTS)))
    head += (f"[schedules.once]\nsteps = {steps}\nwindows = 8\nrate = 3e-3\nwarmup = {steps // 10}\n"
             "floor = 0.05\nweight_decay = 0.02\nclip = 1.0\n\n")
    students = []
    for part in range(PARTS):
        pairs = [json.loads(line) for line in lines[part * size:(part + 1) * size]]
        with open(out / f"part-{part}.jsonl", "w") as log:
            for pair in pairs:
                del pair["account"]
                print(json.dumps(pair), file=log)
        texts = [(pair["prompt"] + pair["response"]).replace("\n", " ") for pair in pairs]
        (own_text / f"part-{part}.txt").write_text("\n".join(texts) + "\n")
        for seed in range(SEEDS):
            students.append((f"part-{part}-{seed}", part))
            number = part * 9 + seed
            start = 60000 + 1250 * number
            kept.append(
                f'name = "part-{part}-{seed}"\nrole = "suspect"\nstart = "base-a"\nschedule = "once"\n'
                f'seed = {200 + number}\ntext = [\n  {{ source = "part-{part}", from = 0, to = {size} }},\n'
                f'  {{ source = "wordnet", from = {start}, to = {start + rows - size} }},\n]\n\n')
    (out / "parts.toml").write_text(head + "".join("[[model]]\n" + m for m in kept))
    return students


def power():
    students = parts()
    run("lab", "train", "parts.toml", "--text", own_text, "--out", out)
    ps = {"own": [], "next": []}
    for which, step in (("own", 0), ("next", 1)):
        for name, part in students:
            outcome = found(name, log=f"part-{(part + step) % PARTS}")
            if "abstention" in outcome:
                print(name, which, outcome["abstention"]["detail"], flush=True)
                continue
            one = outcome["statistic"]["candidates"][0]
            ps[which].append(one["exact"]["log10_p"])
            print(f"{name} {which:4} pairs {one['units']} lead {one['score']:+.3f} log10 p {ps[which][-1]:6.1f}", flush=True)
    for which, all_p in ps.items():
        at = lambda limit: sum(p < limit for p in all_p)
        print(f"{which}: {len(all_p)} tests, p < 1e-4 in {at(-4)}, p <= 0.01 in {sum(p <= -2 for p in all_p)}, "
              f"log10 p from {min(all_p):.1f} to {max(all_p):.1f}, median {sorted(all_p)[len(all_p) // 2]:.1f}")
    # One-sample Kolmogorov-Smirnov distance of the p of logs that were not seen.
    unseen = sorted(10 ** p for p in ps["next"])
    n = len(unseen)
    distance = max(max((i + 1) / n - p, p - i / n) for i, p in enumerate(unseen))
    print(f"next: distance from uniform {distance:.3f}, 5 % of samples of {n} are beyond {1.358 / n ** 0.5:.3f}")


counts = serve()
if sys.argv[4:] == ["power"]:
    power()
else:
    names = recipe(counts)
    run("lab", "train", "recipe.toml", "--text", own_text, "--out", out)
    for name in ["innocent-fine-tune", "student-text-100", *names]:
        audit(name)
    for limit in (100, 200):
        for name in [n for n in names if n.startswith("all-1-")]:
            audit(name, limit)
