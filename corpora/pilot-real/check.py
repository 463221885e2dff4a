"""Holds merged folders against PEFT: the same text, base with adapter by PEFT, and the merged folder by transformers.

    python corpora/pilot-real/check.py MODELS OUT

OUT is what make.sh fills. Prints, for each adapter, the largest difference of a logit, the largest logit, and how far the adapter
moved a logit from its base. Needs torch, transformers and peft.
"""

import json
import pathlib
import sys

import peft
import torch
import transformers

TEXT = "What should I ask a landlord before signing a lease?\nAsk who pays for repairs, and how long the notice is."
models, out = map(pathlib.Path, sys.argv[1:])
torch.set_num_threads(1)
with torch.inference_mode():
    for folder in sorted((out / "adapters").iterdir()):
        config = json.loads((folder / "adapter_config.json").read_text())
        base = models / config["base_model_name_or_path"]
        ids = transformers.AutoTokenizer.from_pretrained(base)(TEXT, return_tensors="pt")["input_ids"]
        load = transformers.AutoModelForCausalLM.from_pretrained
        model = load(base, dtype=torch.float32).eval()
        plain = model(ids).logits
        adapted = peft.PeftModel.from_pretrained(model, folder).eval()(ids).logits
        merged = load(out / folder.name, dtype=torch.float32).eval()(ids).logits
        off, size = (merged - adapted).abs().max().item(), adapted.abs().max().item()
        print(f"{folder.name}: off by {off:.1e}, largest logit {size:.1f}, moved by {(adapted - plain).abs().max():.2f}")
