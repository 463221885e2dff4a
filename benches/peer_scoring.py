"""The peer of benches/scoring.rs: the same positions scored by PyTorch `transformers`.

    python benches/peer_scoring.py MODEL ROWS LENGTH

Prints `first` when 32 tokens are scored, then one JSON object: seconds for all rows, the mean log-probability (to see that
both score the same thing) and the peak memory of the process.
"""

import json
import pathlib
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM

BATCH = 8


def score(model, tokens):
    logits = model(tokens, use_cache=False).logits[:, :-1]
    return torch.log_softmax(logits, -1).gather(2, tokens[:, 1:, None])


def main():
    folder, rows, length = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(2)
    pool = [t for w in json.loads((folder / "oracle.json").read_text())["windows"] for t in w["tokens"]]
    tokens = torch.tensor([[pool[(row * 37 + i) % len(pool)] for i in range(length)] for row in range(rows)])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    with torch.inference_mode():
        score(model, tokens[:1, :32])
        print("first", flush=True)
        start = time.perf_counter()
        total = sum(score(model, tokens[i : i + BATCH]).double().sum().item() for i in range(0, rows, BATCH))
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mean": total / (rows * (length - 1)), "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    main()
