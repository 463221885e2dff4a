"""The tables of docs/watermarks.md on standard output, from results.jsonl, across.jsonl or adapters.jsonl; with READINGS of make.sh, across.sh or
adapters.sh that file is made of them first.

usage: table.py RESULTS [READINGS]
"""

import json
import pathlib
import sys

SHARES = ["100", "30", "10", "5", "1"]


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
    of = {(r["mark"], drafts(r["mode"])): r for r in rows if r["model"] == f"student-{r['mark']}-5"}
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
    ten = [r for r in rows if r["model"].startswith(f"ten-{r['mark']}-")]
    for mark, mode in sorted({(r["mark"], r["mode"]) for r in ten}, key=lambda m: (m[0], drafts(m[1]))):
        of = [r["log10_p"] for r in ten if (r["mark"], r["mode"]) == (mark, mode)]
        told = ", ".join(shown(p) for p in sorted(of))
        texts = f"{drafts(mode):,}" if drafts(mode) else "800, fed"
        print(f"| {mark.replace('-', ', ')} | {mode.split('-')[0]} | {texts} | {sum(p < -6 for p in of)} of {len(of)} | {told} |")
    print()


def innocents(rows):
    print("| key | reading | texts | models | readings | p < 10⁻⁶ | p < 0.01 | p < 0.05 | least log10 p |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    taught = lambda r: r["model"].startswith(("student-", "ten-")) and f"-{r['mark']}-" in r["model"]
    named = lambda r: f"of {r['mark'].replace('-', ', ')}" if r["key"] == r["mark"] else "others"
    clean = [(named(r), r["mode"], r) for r in rows if not taught(r)]
    order = lambda k: ("kgw" not in k[0], k[0] == "others", k[0], drafts(k[1]))
    for key, mode in sorted({(key, mode) for key, mode, _ in clean}, key=order):
        of = [r for k, m, r in clean if (k, m) == (key, mode)]
        ps = [r["log10_p"] for r in of if r["log10_p"] is not None]
        below = " | ".join(str(sum(p < bar for p in ps)) for bar in (-6, -2, -1.30103))
        texts = f"{drafts(mode):,}" if drafts(mode) else "800, fed"
        least = f"{min(ps):.2f}".replace("-", "−")
        print(f"| {key} | {mode.split('-')[0]} | {texts} | {len({r['model'] for r in of})} | {len(of)} | {below} | {least} |")
    print()


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
