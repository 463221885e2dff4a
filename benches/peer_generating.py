"""The peer of `generate`: the same prompts continued by `generate` of PyTorch `transformers`, with its cache, in f32.

    python benches/peer_generating.py JOB [--tune]

The prompts have one length, so nothing is padded; the model's folder names no token that ends a text.
"""

import torch

import peer


def generate(model, prompts, new, temperature, batch):
    how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {"do_sample": False}
    made = []
    for i in range(0, len(prompts), batch):
        some = prompts[i : i + batch]
        ids = model.generate(
            some, attention_mask=torch.ones_like(some), max_new_tokens=new, use_cache=True, pad_token_id=0, **how
        )
        made += ids[:, some.shape[1] :].tolist()
    return made


def main():
    job, tune = peer.job()
    torch.manual_seed(1)
    prompts = torch.tensor([prompt["ids"] for prompt in job["prompts"]])
    model = peer.load(job)
    new, temperature = job["new"], job["temperature"]
    with torch.inference_mode():
        if tune:
            sizes = [max(1, len(prompts) // part) for part in (4, 2, 1)]
            return peer.tune(sizes, lambda batch: generate(model, prompts, 8, temperature, batch))
        seconds, rows = peer.timed(lambda: generate(model, prompts, new, temperature, job["batch"]))
    peer.tell(seconds, rows=rows)


if __name__ == "__main__":
    main()
