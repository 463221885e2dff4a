"""The tables of docs/watermarks.md on standard output, from results.jsonl or adapters.jsonl; with READINGS of make.sh or adapters.sh
that file is made of them first.

usage: table.py RESULTS [READINGS]
"""

import json
import pathlib
import sys

SHARES = ["100", "30", "10", "5", "1"]
INNOCENT = ("clean-", "unmarked-", "innocent-")


def gather(folder):
    rows = []
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        model, mark, key, mode = path.name.removesuffix(".json").split(".")
        of = json.loads(path.read_text())["keys"][0]
        header = of["header"]
        rows.append({
            "model": model, "mark": mark, "key": key, "mode": mode, "log10_p": of["log10_p"],
            "weights": header["model"], "positions": header["positions"], "kept": of["kept"],
            "found": of["found"],
            "control": [c["found"]["mass"] for c in of["controls"]],
        })
    return rows


def shown(p):
    return "–" if p is None else f"{min(p, -0.04):.1f}".replace("-0.0", "0").replace("-", "−")


def drafts(mode):
    """Texts of a closed reading; open ones first."""
    return 0 if mode == "open" else int((mode.split("-") + [800])[1])


def cells(rows):
    by = {(r["model"], r["mark"], r["mode"]): r for r in rows if r["key"] == r["mark"]}
    print("| mark, width | reading | 100 % | 30 % | 10 % | 5 % | 1 % |")
    print("|---|---|---|---|---|---|---|")
    marks = {r["mark"] for r in rows if r["model"].startswith("student-")}
    for mark in sorted(marks, key=lambda m: (m.split("-")[0] != "kgw", m)):
        for mode in ["open", "closed"]:
            row = [by.get((f"student-{mark}-{s}", mark, mode)) for s in SHARES]
            told = " | ".join("" if c is None else shown(c["log10_p"]) for c in row)
            scheme, width = mark.rsplit("-", 1)
            print(f"| {scheme}, {width} | {mode} | {told} |")
    print()


def growth(rows):
    print("| texts | " + " | ".join(f"kgw, {w}: tokens | z | log10 p" for w in "12") + " |")
    print("|---:|" + "---:|" * 6)
    of = {(r["mark"], drafts(r["mode"])): r for r in rows if r["model"] in ("student-kgw-1-5", "student-kgw-2-5")}
    for n in sorted({n for _, n in of if n}):
        told = []
        for mark in ["kgw-1", "kgw-2"]:
            r = of.get((mark, n))
            if r is None:
                told += ["", "", ""]
            else:
                told += [f"{r['positions']:,}", f"{r['found']['beyond_control']['z']:.1f}", shown(r["log10_p"])]
        print(f"| {n:,} | " + " | ".join(told) + " |")
    print()


def tens(rows):
    print("| mark, width | reading | texts | p < 10⁻⁶ | log10 p |")
    print("|---|---|---:|---|---|")
    ten = [r for r in rows if r["model"].startswith("ten-")]
    for mark, mode in sorted({(r["mark"], r["mode"]) for r in ten}, key=lambda m: (m[0], drafts(m[1]))):
        of = [r["log10_p"] for r in ten if (r["mark"], r["mode"]) == (mark, mode)]
        told = ", ".join(shown(p) for p in sorted(of))
        texts = f"{drafts(mode):,}" if drafts(mode) else "800, fed"
        print(f"| {mark.replace('-', ', ')} | {mode.split('-')[0]} | {texts} | {sum(p < -6 for p in of)} of {len(of)} | {told} |")
    print()


def innocents(rows):
    print("| reading | texts | models | pairs of model and key | keys | p < 10⁻⁶ | p < 0.01 | p < 0.05 | least log10 p |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    clean = [r for r in rows if r["model"].startswith(INNOCENT)]
    long = {"closed-3200": "closed-long", "closed-25600": "closed-long"}
    mode_of = lambda r: long.get(r["mode"], r["mode"])
    told = {"open": ("open", "800, fed"), "closed": ("closed", "800"), "closed-long": ("closed", "3,200 and 25,600")}
    for mode, (reading, texts) in told.items():
        of = [r for r in clean if mode_of(r) == mode]
        if of:
            ps = [r["log10_p"] for r in of if r["log10_p"] is not None]
            models, keys = len({r["model"] for r in of}), len({(r["mark"], r["key"]) for r in of})
            below = [sum(p < bar for p in ps) for bar in (-6, -2, -1.30103)]
            print(f"| {reading} | {texts} | {models} | {len(of)} | {keys} | " + " | ".join(map(str, below))
                  + f" | {min(ps):.2f} |".replace("-", "−"))


def adapters(rows):
    print("| model | reading | places kept | windows | z | log10 p | log10 p of the likeliest token |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for r in sorted(rows, key=lambda r: (r["mode"], "marked" not in r["model"], "gemma3-" in r["model"][:7], -r["found"]["beyond_control"]["z"])):
        beyond = r["found"]["beyond_control"]
        print(f"| `{r['model']}` | {r['mode']} | {100 * r['kept']:.1f} % | {beyond['windows']:,} | {beyond['z']:.1f} | "
              f"{shown(r['log10_p'])} | {shown(r['found']['argmax']['log10_p'])} |".replace("| -", "| −"))
    print()


def main(results, readings=None):
    if readings:
        lines = [json.dumps(row, sort_keys=True) + "\n" for row in gather(readings)]
        pathlib.Path(results).write_text("".join(lines), encoding="utf-8")
    rows = [json.loads(line) for line in pathlib.Path(results).read_text(encoding="utf-8").splitlines()]
    few = not any(r["model"].startswith("student-") for r in rows)
    tables = [adapters] if few else [cells, growth, tens, innocents]
    for table in tables:
        table(rows)


main(*sys.argv[1:])
