"""Losses and adapter gradients that PyTorch and PEFT give for two tiny models, kept for the lab's tests.

    python crates/filiation-lab/tests/adapter_reference.py > crates/filiation-lab/tests/adapter_reference.json

The models are those of filiation-model's parity tests (Llama with an untied head; Gemma 3 with tied embeddings and a window of
8). The adapter, rank 3 on every projection, and the rows follow from formulas that the tests repeat. Of each gradient its norm,
its product with a fixed vector, and its first values are kept; of the logits those of the last token of each row. Needs torch,
transformers and peft; the tests need none of them.
"""

import json
import math
import pathlib
import sys

import peft
import torch
import transformers

PARITY = pathlib.Path(__file__).resolve().parents[2] / "filiation-model" / "tests" / "parity"
RANK, ALPHA = 3, 6
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Length, and the first position that counts in the loss.
ROWS = [(13, 4), (21, 9), (6, 1)]


def row(i):
    length = ROWS[i][0]
    return [(7 + 13 * i + 29 * j + j * j) % 64 for j in range(length)]


def wave(i, t):
    """A fixed value in [-0.5, 0.5) for element i of tensor t."""
    return ((i * 37 + t * 11 + 5) % 61) / 61 - 0.5


def load(name):
    model = transformers.AutoModelForCausalLM.from_pretrained(PARITY / name, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def adapted(name):
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, bias="none", task_type="CAUSAL_LM")
    model = peft.get_peft_model(load(name), config)
    trained = sorted(
        (int(n.split("layers.")[1].split(".")[0]), TARGETS.index(next(t for t in TARGETS if f".{t}." in n)), "lora_B" in n, n)
        for n, p in model.named_parameters()
        if p.requires_grad
    )
    parameters = dict(model.named_parameters())
    names = [n for *_, n in trained]
    for t, n in enumerate(names):
        p = parameters[n]
        values = [0.2 * wave(i, t) for i in range(p.numel())]
        p.data.copy_(torch.tensor(values, dtype=torch.float64).reshape(p.shape))
    return model, [(n, parameters[n]) for n in names]


def one(name, teacher):
    """Rows 0 and 2 by their tokens; row 1 by the teacher's distribution where there is one."""
    model, parameters = adapted(name)
    total, counted, last = 0.0, 0, []
    for i, (length, start) in enumerate(ROWS):
        ids = torch.tensor([row(i)])
        logits = model(ids).logits[0].double()
        last.append(logits[-1].tolist())
        table = torch.log_softmax(logits[start - 1 : -1], -1)
        if teacher is not None and i == 1:
            with torch.no_grad():
                taught = torch.softmax(teacher(ids).logits[0].double()[start - 1 : -1], -1)
            total = total - (taught * table).sum()
        else:
            total = total - table.gather(1, ids[0, start:, None]).sum()
        counted += length - start
    loss = total / counted
    loss.backward()
    gradients = []
    for t, (n, p) in enumerate(parameters):
        g = p.grad.double().flatten()
        probe = sum(x * wave(i, t + 3) for i, x in enumerate(g.tolist()))
        gradients.append({"tensor": n.replace(".default", ""), "norm": math.sqrt((g * g).sum()), "probe": probe, "first": g[:4].tolist()})
    return {"model": name, "guided": teacher is not None, "loss": loss.item(), "last_logits": last, "gradients": gradients}


torch.set_num_threads(1)
cases = [one("llama", None), one("gemma-3", None), one("gemma-3", load("llama")), one("llama", load("gemma-3"))]
versions = f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
json.dump({"cases": cases, "made_with": versions}, sys.stdout, indent=1)
sys.stdout.write("\n")
