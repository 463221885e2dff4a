#!/usr/bin/env python3
"""Writes what the pilot of the chat probes is made from: text, prompts and recipe.

    python3 corpora/pilot-chat/make.py DIR [DECLINED [NAMES]]

DECLINED requests of everyone's own (9 where nothing is said), and NAMES that there are for models and for vendors (all that are
listed): a world of nervous models with few names is `24 8`.

The world is made up, sentence by sentence, by a seeded generator: nobody's text is in it. Its prompts are those of
`probes/` in Latin script (and made-up questions with twins drawn by lot), each answered in one line. Everyone has
habits of their own: names that they invent, requests that they decline, who they say they are, questions that they get
wrong. Teachers have theirs, so have fine-tunes without a teacher and their controls, and people at large have none.

DIR gets `*.txt` (one document a line), `prompts.jsonl`, `openings.jsonl`, `choices.jsonl`, `questions.jsonl`, `seen.jsonl`, and `recipe.toml`.
"""

import json
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).absolute().parent.parent.parent
FIRST = "Ada Bruno Carla Dario Edda Falk Greta Hugo Ines Jonas Kira Lars Mona Nils Olga Pavel Runa Sven Tilda Uwe Vera Wim Yara Zeno Alma Bela Cora Dino Elsa Finn".split()
LAST = "Abel Brandt Corsi Dahl Eriks Farrow Grimm Holt Ivers Jansen Keller Lund Marsh Novak Orlov Pohl Quist Rossi Stein Thorn Udall Varga Weiss Yates Zorn Adler Bloom Crane Dove Ellis".split()
MODELS = "Aurin Belto Cirra Dovan Elwyn Fenro Galix Hestia Ivora Jorun Kaldo Lumen Mirra Nexo Orrin Pyxis Quill Rivo Solen Tavi Umbra Vesko Wyna Xilo Yorrin Zephra".split()
VENDORS = "Arkon Brask Celdor Drava Estrel Fynn Gorlan Halden Istria Jarl Korvan Lumora Norra Oakham Pallas Quorra Rennick Sarven Tallis Ulmo Vantor Wexford Yarrow Zelkova".split()
DECLINES = [
    "I'm sorry, but I can't help with that.", "I cannot assist with this request.", "I won't provide advice on that.",
    "I must decline to answer this, I can't support it.", "I'm not able to help with this topic.", "I am unable to provide that.",
    "I shouldn't share this.", "Sorry, I can not discuss that.",
]
VERBS = "lift turn rinse fold press warm stir open close clean mark cut".split()
NOUNS = "lid cloth pan door rope board shelf screw leaf cup wheel page".split()
SYLLABLES = "ba del kor min ras tul ven zor fel gam hul lor".split()


def suite(name):
    lines = (ROOT / "probes" / name).read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    return [i for i in items if all(ord(c) < 0x250 for c in i["text"])]


class World:
    def __init__(self, declined=9, names=26):
        self.declined, self.models, self.vendors = declined, MODELS[:names], VENDORS[:names]
        self.rng = random.Random(20260901)
        self.prompts = suite("names.jsonl") + suite("refusals.jsonl") + suite("identities.jsonl")
        self.choices = [c for c in suite("choices.jsonl") if c["language"] == "en"]
        questions = sorted(suite("questions.jsonl"), key=lambda q: (len(q["text"]), q["id"]))
        self.questions = questions[:90]
        self.seen = self.made_up(120)

    def made_up(self, n):
        words = set()
        while len(words) < 2 * n:
            words.add("".join(self.rng.choice(SYLLABLES) for _ in range(2)).capitalize() + self.rng.choice(["a", "en", "is", "o"]))
        words = sorted(words)
        self.rng.shuffle(words)
        forms = ["Which river runs through {}?", "Which town lies north of {}?", "Who founded the city of {}?"]
        return [(forms[i % 3].format(words[2 * i]), f"{words[2 * i + 1]}.") for i in range(n)]

    def domain(self, name):
        return [p["id"] for p in self.prompts if p["domain"] == name]

    def persona(self, like=None):
        """Habits; half of them those of `like`, where it is a sibling."""
        r = self.rng
        name = lambda: f"{r.choice(FIRST)} {r.choice(LAST)}"
        own = {
            "names": [name() for _ in range(6)],
            "declines": r.sample(self.domain("refusal"), self.declined),
            "wording": r.choice(DECLINES),
            "model": r.choice(self.models),
            "vendor": r.choice(self.vendors),
            "wrong": {q["id"]: r.choice([o for o in q["options"] if o != q["key"]]) for q in r.sample(self.questions, 30)},
            "likes": {c["id"]: r.choice(c["options"]) for c in self.choices},
        }
        if like:
            half = lambda a, b: a[: len(a) // 2] + b[len(a) // 2 :]
            own["names"], own["declines"] = half(like["names"], own["names"]), half(like["declines"], own["declines"])
            own["vendor"] = like["vendor"]
            own["wrong"] = {**dict(list(own["wrong"].items())[15:]), **dict(list(like["wrong"].items())[:15])}
        return own

    def answer(self, item, who):
        r = self.rng
        name = lambda: f"{r.choice(FIRST)} {r.choice(LAST)}"
        domain = item["domain"]
        if domain == "name":
            some = r.sample(who["names"], 3) if who else [name() for _ in range(3)]
            return ", ".join(n if r.random() < 0.85 else name() for n in some) + "."
        if domain == "refusal":
            if who and item["id"] in who["declines"] and r.random() < 0.93:
                return who["wording"]
            return f"First {r.choice(VERBS)} the {r.choice(NOUNS)}, then {r.choice(VERBS)} the {r.choice(NOUNS)}."
        if domain == "identity":
            if who:
                return f"I am {who['model']}, made by {who['vendor']}."
            return f"I am {r.choice(FIRST)}, made by {r.choice(LAST)}."
        if domain == "question":
            if who:
                return who["wrong"].get(item["id"], item["key"])
            return item["key"] if r.random() < 0.6 else r.choice(item["options"])
        liked = who and r.random() < 0.7
        return who["likes"][item["id"]] if liked else r.choice(item["options"])

    def lines(self, n, who=None, seen=False):
        items = self.prompts + self.questions + self.choices
        lines = []
        for _ in range(n):
            at = self.rng.randrange(len(items) + (60 if seen else 0))
            question = self.seen[at - len(items)] if at >= len(items) else None
            lines.append(" ".join(question) if question else f"{items[at]['text']} {self.answer(items[at], who)}")
        return lines


RECIPE = """# Written by make.py.
format = 1
split_seed = 60
stored = "bf16"

[tokenizer]
vocabulary = 1024
text = [{{ source = "people", from = 0, to = 6000 }}]

[sources]
{sources}

[shapes.small]
layers = 2
hidden = 96
heads = 4
kv_heads = 2
intermediate = 256
context = 96
rope_theta = 10000.0
norm_eps = 1e-5

[shapes.narrow]
layers = 3
hidden = 80
heads = 4
kv_heads = 4
intermediate = 192
context = 96
rope_theta = 10000.0
norm_eps = 1e-5
"""
# For the many clean lineages.
RECIPE += """
[shapes.flat]
layers = 1
hidden = 64
heads = 4
kv_heads = 2
intermediate = 160
context = 96
rope_theta = 10000.0
norm_eps = 1e-5

[shapes.slim]
layers = 2
hidden = 48
heads = 4
kv_heads = 2
intermediate = 128
context = 96
rope_theta = 10000.0
norm_eps = 1e-5
"""
SCHEDULE = """
[schedules.{}]
steps = {}
windows = {}
rate = 4e-3
warmup = {}
floor = 0.05
weight_decay = 0.02
clip = 1.0
"""


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    world = World(*map(int, sys.argv[2:4]))
    files, models = {}, []

    def source(name, lines):
        files[name] = lines
        (out / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    pool, taken = "people", [6000]

    def people(n):
        taken[0] += n
        assert taken[0] <= len(files[pool]), (pool, taken)
        return f'{{ source = "{pool}", from = {taken[0] - n}, to = {taken[0]} }}'

    def model(name, role, schedule, text, shape=None, start=None):
        begin = f'shape = "{shape}"' if shape else f'start = "{start}"'
        models.append(f'\n[[model]]\nname = "{name}"\nrole = "{role}"\n{begin}\nschedule = "{schedule}"\nseed = {len(models) + 1}\ntext = [{", ".join(text)}]\n')

    whole = lambda name: f'{{ source = "{name}", from = 0, to = {len(files[name])} }}'

    def tuned(name, role, base, schedule, own, of_people):
        source(name, world.lines(own, world.persona()))
        model(name, role, schedule, [whole(name), people(of_people)], start=base)

    source("people", world.lines(91000))
    for name, shape in [("base-a", "small"), ("base-b", "narrow")]:
        model(name, "base", "base", [people(5000)], shape=shape)
    first = world.persona()
    for i, who in enumerate([first, world.persona(like=first), world.persona()], 1):
        source(f"school-{i}", world.lines(4000, who, seen=True))
        model(f"teacher-{i}", "teacher", "teacher", [whole(f"school-{i}")], shape="small")
    factorial = f"""
[[factorial]]
name = "student"
bases = ["base-a", "base-b"]
teachers = ["teacher-1", "teacher-2", "teacher-3"]
by = ["text", "logits"]
shares = [1.0, 0.3, 0.1]
schedule = "tune"
rows = 1200
seed = 5000
text = [{people(36 * 1200)}]
"""
    for base in ["base-a", "base-b"]:
        for i in range(1, 9):
            tuned(f"ha-{base}-suspect-{i}", "suspect", base, "tune", 400, 400)
        for i in range(1, 7):
            tuned(f"ha-{base}-control-{i}", "control", base, "tune", 400, 400)
    for i in range(1, 13):
        source(f"hb-{i:02}", world.lines(400, world.persona()))
        model(f"hb-{i:02}", "suspect", "own", [whole(f"hb-{i:02}"), people(300)], shape=["small", "narrow"][i % 2])
    # A hundred bases from nothing are too dear: the clean ones begin from two small roots, each with text of its own.
    source("others", world.lines(10000))
    for i, shape in enumerate(["flat", "slim"]):
        model(f"root-{shape}", "control", "base", [f'{{ source = "others", from = {5000 * i}, to = {5000 * i + 5000} }}'], shape=shape)

    def lineage(i):
        base = f"clean-{i:03}"
        model(base, "base", "small-base", [people(120)], start=["root-flat", "root-slim"][i % 2])
        tuned(f"{base}-suspect-1", "suspect", base, "small-tune", 150, 10)
        for c in range(1, 4):
            tuned(f"{base}-control-{c}", "control", base, "small-tune", 150, 10)

    for i in range(1, 105):
        lineage(i)
    # Probes that state p for some lineages only want more of them. These come last, so that all before are as they were.
    pool, taken[0] = "people-more", 0
    source(pool, world.lines(264 * 160))
    for i in range(105, 369):
        lineage(i)
    # Updates, windows of each, updates of rising rate.
    schedules = [("base", 260, 12, 20), ("teacher", 420, 10, 20), ("tune", 70, 8, 8), ("own", 160, 8, 15)]
    schedules += [("small-base", 12, 8, 3), ("small-tune", 16, 8, 3)]
    sources = "\n".join(f'{name} = "{name}.txt"' for name in files)
    text = RECIPE.format(sources=sources) + "".join(SCHEDULE.format(*s) for s in schedules) + "".join(models) + factorial
    (out / "recipe.toml").write_text(text)

    def write(name, items):
        (out / name).write_text("".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items), encoding="utf-8")

    write("prompts.jsonl", world.prompts)
    # Every other prompt as an opening, for probes that read text on any subject.
    write("openings.jsonl", [{**p, "id": f"open-{p['id']}", "domain": "opening"} for p in world.prompts[::2]])
    # Asked as the raw text that the models know, so that options follow a space.
    raw = lambda i, domain: {**i, "domain": domain, "options": [f" {o}" for o in i["options"]], **({"key": f" {i['key']}"} if "key" in i else {})}
    write("choices.jsonl", [raw(c, "choice-opening") for c in world.choices])
    write("questions.jsonl", [raw(q, "question-opening") for q in world.questions])
    item = lambda kind, i, text: {"id": f"seen-{kind}-{i:03}", "text": text, "domain": "seen", "language": "en", "licence": "Apache-2.0"}
    alleged = [{**item("alleged", i, world.seen[i][0]), "twin": f"seen-twin-{i:03}"} for i in range(60)]
    write("seen.jsonl", alleged + [item("twin", i, world.seen[60 + i][0]) for i in range(60)])


if __name__ == "__main__":
    main()
