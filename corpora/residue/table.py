"""The tables of docs/watermarks.md on standard output, from results.jsonl; with READINGS of make.sh that file is made of them first.

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
    return "–" if p is None else f"{min(p, -0.04):.1f}".replace("-0.0", "0")


def main(results, readings=None):
    if readings:
        lines = [json.dumps(row, sort_keys=True) + "\n" for row in gather(readings)]
        pathlib.Path(results).write_text("".join(lines), encoding="utf-8")
    rows = [json.loads(line) for line in pathlib.Path(results).read_text(encoding="utf-8").splitlines()]
    by = {(r["model"], r["mark"], r["mode"]): r for r in rows if r["key"] == r["mark"]}
    marks = sorted({r["mark"] for r in rows}, key=lambda m: (m.split("-")[0] != "kgw", m))
    print("| mark, width | reading | 100 % | 30 % | 10 % | 5 % | 1 % |")
    print("|---|---|---|---|---|---|---|")
    for mark in marks:
        for mode in ["open", "closed"]:
            cells = [by.get((f"student-{mark}-{s}", mark, mode)) for s in SHARES]
            told = " | ".join("" if c is None else shown(c["log10_p"]) for c in cells)
            scheme, width = mark.rsplit("-", 1)
            print(f"| {scheme}, {width} | {mode} | {told} |")
    print()
    for mark in marks:
        for mode in ["open", "closed"]:
            ten = [r for r in rows if r["model"].startswith(f"ten-{mark}-") and r["mode"] == mode]
            if ten:
                hits = sum(r["log10_p"] is not None and r["log10_p"] < -6 for r in ten)
                all_p = ", ".join(shown(r["log10_p"]) for r in sorted(ten, key=lambda r: r["log10_p"]))
                print(f"{mark}, {mode}, 5 %: p < 1e-6 in {hits} of {len(ten)} students ({all_p})")
    for mode in ["open", "closed"]:
        clean = [r for r in rows if r["model"].startswith(("clean-", "unmarked-")) and r["mode"] == mode]
        if clean:
            ps = [r["log10_p"] for r in clean if r["log10_p"] is not None]
            print(
                f"innocent, {mode}: {len(clean)} pairs of {len({r['model'] for r in clean})} models and "
                f"{len({(r['mark'], r['key']) for r in clean})} keys, p < 1e-6 in {sum(p < -6 for p in ps)}, "
                f"p < 0.01 in {sum(p < -2 for p in ps)}, least log10 p {min(ps):.2f}")


main(*sys.argv[1:])
