"""Log-probabilities that `transformers` gives for demonstration models, kept for the lab's tests.

    python crates/filiation-lab/tests/reference.py > crates/filiation-lab/tests/reference.json

Loads each folder as any user would (AutoModelForCausalLM, AutoTokenizer), in f32. For a fixed text
it prints the token ids, the log-probability of each token after those before it (nats), and all
logits of the last position. Needs torch and transformers; the tests need neither.
"""

import hashlib
import json
import pathlib
import sys

import torch
import transformers

DEMO = pathlib.Path(__file__).resolve().parents[3] / "corpora" / "demo"
TEXT = (
    "the act of carrying a small load from one place to another by water; as, the ferrying of "
    'grain; "they were paid by the sack"; also any bird of the north with long legs, and the '
    "sound that it makes"
)


def one(name: str) -> dict:
    folder = DEMO / name
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(ids).logits[0].double()
    after = torch.log_softmax(logits[:-1], -1).gather(1, ids[0, 1:, None])[:, 0]
    return {
        "model": name,
        "weights": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "ids": ids[0].tolist(),
        "logprobs": after.tolist(),
        "last_logits": logits[-1].tolist(),
    }


torch.set_num_threads(1)
record = {"text": TEXT, "models": [one(name) for name in ("base-a", "base-b")]}
record["made_with"] = f"transformers {transformers.__version__}, torch {torch.__version__}"
json.dump(record, sys.stdout, indent=1)
sys.stdout.write("\n")
