"""Writes marking.json: what the processors of transformers make of logits, token by token.

Needs torch (CPU) and transformers 5.23. Run: python marking.py > marking.json
"""

import json

import torch
from transformers.generation import (
    SynthIDTextWatermarkLogitsProcessor,
    WatermarkLogitsProcessor,
)

V = 60
STEPS = 12


def logits(step):
    g = torch.Generator().manual_seed(1000 + step)
    # Few digits, so that a text file holds them exactly; all different.
    return (torch.randperm(200, generator=g)[:V].float() - 100.0) / 32.0


def kgw(seeding, width):
    processor = WatermarkLogitsProcessor(
        vocab_size=V, device="cpu", greenlist_ratio=0.25, bias=2.0,
        hashing_key=15485863, seeding_scheme=seeding, context_width=width)
    ids = [7, 3, 11, 5]
    raised = []
    for step in range(STEPS):
        scores = logits(step)[None]
        new = processor(torch.tensor([ids]), scores)
        up = (new - scores)[0]
        raised.append([i for i in range(V) if up[i] > 1.0])
        # A token that does not depend on the mark, and repeats windows now and then.
        ids.append((ids[-1] * 5 + step // 4) % V)
    return {"prompt": [7, 3, 11, 5], "ids": ids[4:], "raised": raised}


def synthid():
    keys = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29]
    processor = SynthIDTextWatermarkLogitsProcessor(
        ngram_len=3, keys=keys, sampling_table_size=2**16, sampling_table_seed=0,
        context_history_size=1024, device="cpu")
    ids, weights = [7, 3], []
    # The window 5 6 stands twice.
    for step, token in enumerate([5, 6, 9, 5, 6, 8, 2, 2, 2, 2, 4, 5]):
        new = processor(torch.tensor([ids]), logits(step)[None])
        weights.append([round(float(p), 7) for p in torch.softmax(new[0].double(), 0)])
        ids.append(token)
    return {"keys": keys, "prompt": [7, 3], "ids": ids[2:], "weights": weights}


print(json.dumps({
    "logits": [[float(x) for x in logits(step)] for step in range(STEPS)],
    "lefthash": kgw("lefthash", 1),
    "selfhash": kgw("selfhash", 4),
    "synthid": synthid(),
}))
