"""What planted-canaries sees of models that learned planted texts, by repetitions, and of innocents: docs/canaries.md.

    corpora/demo/fetch-text.sh TEXT
    python3 tests/canaries/study.py target/release/filiation TEXT OUT

Bases of the demonstration's shape are trained on dictionary definitions, with 64 canaries planted among 6,000 rows as often
as the columns say, and without. Then 300 sets of canaries that nobody planted are held against an innocent and against the model
that learned most.
"""

import json
import math
import pathlib
import shutil
import subprocess
import sys

FORMS, REPEATS, SETS = ("string", "phrase"), (1, 2, 4, 8, 16, 32), 300
filiation, text, out = (pathlib.Path(a).absolute() for a in sys.argv[1:4])
own_text = out / "text"
own_text.mkdir(parents=True, exist_ok=True)
for source in ("wordnet", "webster"):
    shutil.copy(text / f"{source}.txt", own_text)


def run(*arguments):
    done = subprocess.run([filiation, *map(str, arguments)], cwd=out, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout) if "--json" in arguments else None


def plant(name, form, repeats, count=64, seed=None):
    if not (out / name).exists():
        more = ["--seed", seed] if seed else []
        run("canary", "plant", "--out", name, "--id", name, "--form", form, "--count", count, "--decoys", 99,
            "--repeats", ",".join(map(str, repeats)), "--date", "2026-11-29", "--json", *more)
    return [json.loads(line)["text"] for line in open(out / name / "texts.jsonl")]


def check(model, name):
    done = run("canary", "check", model, "--canaries", f"{name}/canaries.json", "--secret",
               f"{name}/canaries.secret.json", "--json")
    return done["models"][0]["found"]


def recipe():
    head = f'''format = 1
split_seed = 20
stored = "bf16"
[tokenizer]
vocabulary = 1024
text = [{{ source = "wordnet", from = 0, to = 12000 }}]
[sources]
wordnet = "wordnet.txt"
'''
    models = ""
    for form in FORMS:
        texts = plant(form, form, REPEATS, seed=f"{FORMS.index(form) + 1:064x}")
        (own_text / f"{form}.txt").write_text("\n".join(texts) + "\n")
        head += f'{form} = "{form}.txt"\n'
        models += f'''[[model]]
name = "taught-{form}"
role = "suspect"
shape = "small"
schedule = "base"
seed = 1
text = [
  {{ source = "wordnet", from = 0, to = 6000 }},
  {{ source = "{form}", from = 0, to = {len(texts)} }},
]
'''
    head += '''[shapes.small]
layers = 2
hidden = 96
heads = 4
kv_heads = 2
intermediate = 256
context = 128
rope_theta = 10000.0
norm_eps = 1e-5
[schedules.base]
steps = 700
windows = 16
rate = 4e-3
warmup = 40
floor = 0.05
weight_decay = 0.05
clip = 1.0
[[model]]
name = "innocent"
role = "control"
shape = "small"
schedule = "base"
seed = 2
text = [{ source = "wordnet", from = 6000, to = 12000 }]
'''
    (out / "recipe.toml").write_text(head + models)


def uniform(p):
    """Kolmogorov and Smirnov's distance of p-values from the uniform distribution, and its p-value."""
    p, n = sorted(p), len(p)
    d = max(max((i + 1) / n - x, x - i / n) for i, x in enumerate(p))
    t = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * d
    return d, max(0.0, min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * t * t) for k in range(1, 101))))


recipe()
run("lab", "train", "recipe.toml", "--text", own_text, "--out", out)
for form in FORMS:
    for model in (f"taught-{form}", "innocent"):
        found = check(model, form)
        print(f"{form:7} {model:14} log10 p {found['log10_p']:7.1f} e {found['log10_e']:6.1f} lead {found['score']:+.3f} "
              f"written {found['matched']}/{found['asked']} smallest share {found['smallest_share']:.3f}", flush=True)
        for by in found["by_repeats"]:
            print(f"        planted {by['repeats']:3}: {by['used']} canaries, lead {by['lead']:+.2f}, first {by['first']}, "
                  f"log10 p {by['log10_p']:.1f}", flush=True)
for model in ("innocent", "taught-phrase"):
    values = []
    for i in range(SETS):
        name = f"unplanted-{i:03}"
        plant(name, FORMS[i % 2], (1,), count=16, seed=f"{1000 + i:064x}")
        values.append(10 ** check(model, name)["log10_p"])
    d, p = uniform(values)
    print(f"{model}: {SETS} sets never planted: KS {d:.3f}, p {p:.2f}; least p {min(values):.1e}; "
          f"share below 0.05 {sum(v <= 0.05 for v in values) / SETS:.3f}", flush=True)
