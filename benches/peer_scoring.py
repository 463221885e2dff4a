"""The peer of `score`: the same positions scored by PyTorch `transformers`.

    python benches/peer_scoring.py JOB [--tune]

JOB is a file that the bench wrote. Prints `first` when 32 tokens are scored, then one JSON object: seconds for all rows,
the mean log-probability (to see that both score the same thing) and the peak memory of the process. With `--tune`, the
batch size at which it is quickest.
"""

import torch

import peer


def score(model, tokens):
    logits = model(tokens, use_cache=False).logits[:, :-1]
    return peer.log_probs(logits, tokens[:, 1:])


def score_all(model, tokens, batch):
    return sum(score(model, tokens[i : i + batch]).double().sum().item() for i in range(0, len(tokens), batch))


def main():
    job, tune = peer.job()
    tokens = torch.tensor(job["rows"], device=peer.device(job))
    model = peer.load(job)
    with torch.inference_mode():
        if tune:
            return peer.tune([2, 4, 8, 16], lambda batch: score_all(model, tokens[:16], batch))
        score(model, tokens[:1, :32])
        print("first", flush=True)
        seconds, total = peer.timed(lambda: score_all(model, tokens, job["batch"]))
    peer.tell(seconds, mean=total / tokens[:, 1:].numel())


if __name__ == "__main__":
    main()
