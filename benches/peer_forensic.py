"""The peer of `forensic`: several completions of each prompt scored by PyTorch `transformers`, from the same texts.

    python benches/peer_forensic.py JOB [--tune]

Prompt and completion are tokenised together, sorted by length, and padded on the right, where a causal model does not look:
no mask is needed, and attention takes its quickest path. Logits are made for the positions of completions only.
"""

import torch
from transformers import AutoTokenizer

import peer


def rows(tokenizer, prompts):
    """(ids, number of leading tokens that belong to the prompt), longest first."""
    texts = [(item["prompt"], c) for item in prompts for c in item["completions"]]
    encoded = tokenizer([p + c for p, c in texts], return_offsets_mapping=True)
    special = tokenizer.all_special_ids
    found = []
    for (prompt, _), ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"]):
        before = sum(1 for id, (start, _) in zip(ids, offsets) if start < len(prompt) or id in special)
        found.append((ids, before))
    return sorted(found, key=lambda row: -len(row[0]))


def score(model, batch):
    """Sum of the log-probabilities of the completions."""
    longest = max(len(ids) for ids, _ in batch)
    padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch])
    states = model.model(input_ids=padded, use_cache=False).last_hidden_state
    row = torch.cat([torch.full((len(ids) - before,), i) for i, (ids, before) in enumerate(batch)])
    place = torch.cat([torch.arange(before, len(ids)) for ids, before in batch])
    logits = model.lm_head(states[row, place - 1])
    return peer.log_probs(logits, padded[row, place]).double().sum().item()


def score_all(model, rows, batch):
    return sum(score(model, rows[i : i + batch]) for i in range(0, len(rows), batch))


def main():
    job, tune = peer.job()
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = peer.load(job)
    with torch.inference_mode():
        if tune:
            some = rows(tokenizer, job["prompts"])[::10]
            return peer.tune([4, 8, 16, 32], lambda batch: score_all(model, some, batch))
        sides = {}

        def work():
            sides["rows"] = rows(tokenizer, job["prompts"])
            return score_all(model, sides["rows"], job["batch"])

        seconds, total = peer.timed(work)
    tokens = sum(len(ids) - before for ids, before in sides["rows"])
    peer.tell(seconds, mean=total / tokens, tokens=tokens)


if __name__ == "__main__":
    main()
