"""Makes the tiny models of this folder and what transformers computes from them.

    python make_goldens.py            (torch, transformers 5)

A case is a folder: `config.json` as transformers 5 writes it, `config-v4.json` with the keys of
transformers 4, `model.safetensors` and `golden.json` (token ids, logits and hidden states in f32).
Lengths lie on both sides of every window and of the context length before rotary scaling.
"""

import json
import pathlib

import torch
import transformers

HERE = pathlib.Path(__file__).parent
LENGTH = 24
COMMON = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    pad_token_id=None,
    bos_token_id=1,
    eos_token_id=2,
)
LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)


def rope(theta, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | more}


# name: class, keys of transformers 5, keys of transformers 4, dtype in the file
CASES = {
    "llama": ("Llama", rope(1e4), dict(rope_theta=1e4, rope_scaling=None), "f32"),
    "llama-3": (
        "Llama",
        dict(**rope(5e5, **LLAMA3), head_dim=16, tie_word_embeddings=True),
        dict(rope_theta=5e5, rope_scaling=LLAMA3, head_dim=16, tie_word_embeddings=True),
        "bf16",
    ),
    "llama-biases": (
        "Llama",
        dict(**rope(1e4, rope_type="linear", factor=4.0), attention_bias=True, mlp_bias=True),
        dict(
            rope_theta=1e4,
            rope_scaling=dict(type="linear", factor=4.0),
            attention_bias=True,
            mlp_bias=True,
        ),
        "f16",
    ),
    "mistral": (
        "Mistral",
        dict(**rope(1e3), sliding_window=8, head_dim=12),
        dict(rope_theta=1e3, sliding_window=8, head_dim=12),
        "bf16",
    ),
    "qwen2": (
        "Qwen2",
        dict(
            **rope(1e6),
            use_sliding_window=True,
            sliding_window=8,
            max_window_layers=1,
            tie_word_embeddings=True,
        ),
        dict(
            rope_theta=1e6,
            use_sliding_window=True,
            sliding_window=8,
            max_window_layers=1,
            tie_word_embeddings=True,
        ),
        "bf16",
    ),
    "qwen3": (
        "Qwen3",
        dict(**rope(1e6), head_dim=16, sliding_window=None),
        dict(
            rope_theta=1e6,
            rope_scaling=None,
            head_dim=16,
            use_sliding_window=False,
            sliding_window=4096,
            max_window_layers=2,
        ),
        "bf16",
    ),
    "gemma-2": (
        "Gemma2",
        dict(
            **rope(1e4),
            head_dim=16,
            sliding_window=8,
            query_pre_attn_scalar=24,
            attn_logit_softcapping=3.0,
            final_logit_softcapping=4.0,
        ),
        dict(
            rope_theta=1e4,
            head_dim=16,
            sliding_window=8,
            query_pre_attn_scalar=24,
            attn_logit_softcapping=3.0,
            final_logit_softcapping=4.0,
            hidden_act="gelu_pytorch_tanh",
            cache_implementation="hybrid",
        ),
        "bf16",
    ),
    "gemma-3": (
        "Gemma3",
        dict(
            rope_parameters={
                "sliding_attention": dict(rope_type="default", rope_theta=100.0),
                "full_attention": dict(rope_type="linear", rope_theta=1e5, factor=8.0),
            },
            head_dim=16,
            sliding_window=8,
            query_pre_attn_scalar=16,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            num_hidden_layers=3,
        ),
        dict(
            rope_theta=1e5,
            rope_scaling=dict(rope_type="linear", factor=8.0),
            rope_local_base_freq=100.0,
            head_dim=16,
            sliding_window=8,
            sliding_window_pattern=3,
            query_pre_attn_scalar=16,
            num_hidden_layers=3,
            attn_logit_softcapping=None,
            final_logit_softcapping=None,
        ),
        "bf16",
    ),
    "phi-3": (
        "Phi3",
        dict(**rope(1e4, partial_rotary_factor=0.5), sliding_window=8),
        dict(
            rope_theta=1e4,
            rope_scaling=None,
            partial_rotary_factor=0.5,
            sliding_window=8,
            original_max_position_embeddings=64,
        ),
        "bf16",
    ),
    "olmo-2": ("Olmo2", rope(5e5), dict(rope_theta=5e5, rope_scaling=None), "bf16"),
    "gpt-2": ("GPT2", {}, {}, "f32"),
    "gpt-2-plain": (
        "GPT2",
        dict(scale_attn_weights=False, n_inner=40, activation_function="relu"),
        dict(scale_attn_weights=False, n_inner=40, activation_function="relu"),
        "bf16",
    ),
    "gpt-neox": (
        "GPTNeoX",
        rope(1e4, partial_rotary_factor=0.25),
        dict(rotary_pct=0.25, rotary_emb_base=10000),
        "f16",
    ),
    "gpt-neox-serial": (
        "GPTNeoX",
        dict(
            **rope(1e3, partial_rotary_factor=0.5),
            use_parallel_residual=False,
            attention_bias=False,
        ),
        dict(
            rotary_pct=0.5,
            rotary_emb_base=1000,
            use_parallel_residual=False,
            attention_bias=False,
        ),
        "f32",
    ),
}
GPT2 = dict(
    vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
)


def base(family):
    if family == "GPT2":
        return dict(GPT2)
    keys = dict(COMMON)
    if family == "GPTNeoX":
        del keys["num_key_value_heads"]
    return keys


def fill(model, dtype):
    """Weights large enough that every part of the block shows in the logits."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape)
            if p.dim() == 2:
                p.copy_(noise * 1.5 / p.shape[1] ** 0.5)
            elif name.endswith("bias") or "Gemma" in type(model).__name__:
                p.copy_(0.3 * noise)
            else:
                p.copy_(1 + 0.3 * noise)
            p.copy_(p.to(dtype).float())


def make(name, family, new, old, dtype):
    torch.manual_seed(sum(map(ord, name)))
    dtype = dict(f32=torch.float32, bf16=torch.bfloat16, f16=torch.float16)[dtype]
    prefix = family + ("Text" if family == "Gemma3" else "")
    config = getattr(transformers, prefix + "Config")(**(base(family) | new))
    config._attn_implementation = "eager"
    tail = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    model = getattr(transformers, family + tail)(config).eval()
    fill(model, dtype)
    tokens = torch.randint(0, 64, (1, LENGTH))
    with torch.no_grad():
        out = model(tokens, output_hidden_states=True, use_cache=False)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    # Weights are in the file's type already: this rounds nothing.
    model.to(dtype).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    v4 = dict(
        architectures=[type(model).__name__],
        model_type=config.model_type,
        torch_dtype=str(dtype).removeprefix("torch."),
        transformers_version="4.46.0",
        use_cache=True,
        **{**base(family), **old},
    )
    for key in ("hidden_act", "hidden_activation", "rms_norm_eps", "layer_norm_eps"):
        if hasattr(config, key):
            v4.setdefault(key, getattr(config, key))
    v4.setdefault("tie_word_embeddings", config.tie_word_embeddings)
    (folder / "config-v4.json").write_text(json.dumps(v4, indent=1, sort_keys=True) + "\n")
    golden = dict(
        transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0],
        tokens=tokens[0].tolist(),
        logits=out.logits[0].tolist(),
        hidden=[h[0].tolist() for h in out.hidden_states],
    )
    (folder / "golden.json").write_text(json.dumps(short(golden)) + "\n")


def short(value):
    """Floats of f32 in nine digits, which is enough to read them back exactly."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [short(v) for v in value]
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items()}
    return value


for name, case in CASES.items():
    make(name, *case)
