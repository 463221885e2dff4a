"""The peer of `equality`: `mmd_hamming` with the permutation test of model-equality-testing 0.0.2, on the same texts.

    python benches/peer_equality.py JOB

JOB holds `samples`, each with `a` and `b`, lists of (prompt, text), and `draws`; and `null`, many small samples of one source.
"""

import contextlib
import io
import json
import pathlib
import sys
import time

import numpy as np
from model_equality_testing.algorithm import run_two_sample_test
from model_equality_testing.distribution import CompletionSample
from model_equality_testing.utils import pad_to_length, tokenize_unicode


def sides(sample):
    prompts = 1 + max(prompt for rows in sample.values() for prompt, _ in rows)
    length = max(len(text) for rows in sample.values() for _, text in rows)

    def side(rows):
        codes = pad_to_length(tokenize_unicode([text for _, text in rows]), length)
        return CompletionSample(prompts=np.array([p for p, _ in rows]), completions=codes, m=prompts)

    return side(sample["a"]), side(sample["b"])


def test(pair, draws):
    with contextlib.redirect_stderr(io.StringIO()):
        return run_two_sample_test(*pair, pvalue_type="permutation_pvalue", stat_type="mmd_hamming", b=draws)


def main():
    job = json.loads(pathlib.Path(sys.argv[1]).read_text())
    found = []
    for sample in job["samples"]:
        pair = sides(sample)
        start = time.perf_counter()
        p, statistic = test(pair, job["draws"])
        found.append({"seconds": time.perf_counter() - start, "p": p, "statistic": float(statistic)})
    null = [test(sides(sample), job["null_draws"])[0] for sample in job["null"]]
    print(json.dumps({"samples": found, "null": null}), flush=True)


if __name__ == "__main__":
    main()
