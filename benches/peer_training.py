"""The peer of the training bench: optimiser steps of a small Llama in PyTorch `transformers`.

    python benches/peer_training.py [--layers 4] [--hidden 128] … [--steps 20] [--threads 2]

The defaults are the shape that the bench trains (1.02 M parameters, batch of 32 windows of 128 tokens). The attention
implementation is `sdpa` or `eager`, whichever makes a step quicker here; `loss.backward()`, gradients clipped to norm 1,
`AdamW(fused=True)`. Prints one JSON object: tokens a second (median over the steps), the loss of the last step, and which
attention it was.
"""

import argparse
import json
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def model_of(args, attention):
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.kv_heads,
        max_position_embeddings=args.context,
        tie_word_embeddings=True,
        use_cache=False,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config).train()


def step(model, optimiser, windows):
    inputs, targets = windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
    logits = model(inputs).logits
    loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.item()


def run(args, attention, steps):
    """Seconds of each step, and the loss of the last."""
    model = model_of(args, attention)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95), fused=True)
    generator = torch.Generator().manual_seed(2)
    seconds, loss = [], float("nan")
    for _ in range(steps):
        shape = (args.windows, args.context + 1)
        windows = torch.randint(2, args.vocabulary, shape, generator=generator)
        start = time.perf_counter()
        loss = step(model, optimiser, windows)
        seconds.append(time.perf_counter() - start)
    return seconds, loss


def main():
    parser = argparse.ArgumentParser()
    for name, default in (
        ("layers", 4), ("hidden", 128), ("heads", 4), ("kv-heads", 4), ("intermediate", 320),
        ("vocabulary", 2048), ("context", 128), ("windows", 32), ("steps", 20), ("threads", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warm = {name: min(run(args, name, 4)[0][1:]) for name in ("sdpa", "eager")}
    attention = min(warm, key=warm.get)
    seconds, loss = run(args, attention, args.steps + 2)
    speed = args.windows * args.context / statistics.median(seconds[2:])
    print(json.dumps({"tokens_per_second": speed, "loss": loss, "attention": attention}))


if __name__ == "__main__":
    main()
