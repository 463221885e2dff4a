"""Prints small matrices in the packed forms, and what numpy makes of them, as JSON.

The reader of these forms is Rust; here codes are put into words and taken out again by numpy alone, from
the definition of each form:

- GPTQ: `qweight` (inputs * bits / 32, outputs), bits of successive inputs one after the other; `qzeros`
  (groups, outputs * bits / 32), the same along outputs, each zero less one in format `gptq` and as it is in
  `gptq_v2`; `scales` (groups, outputs); `g_idx` (inputs).
- AWQ, `gemm`: `qweight` (inputs, outputs / 8) and `qzeros` (groups, outputs / 8), eight outputs a word in
  the order 0, 2, 4, 6, 1, 3, 5, 7.
- compressed-tensors, `pack-quantized`: `weight_packed` (outputs, inputs * bits / 32), `weight_scale`
  (outputs, groups), `weight_zero_point` (outputs * bits / 32, groups) or none.

    python crates/filiation-checkpoint/scripts/packed_reference.py > crates/filiation-checkpoint/src/checkpoint/tests/packed.json
"""

import json

import numpy as np

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def pack(codes, bits):
    """Codes along the last axis, as a stream of bits, into words of 32."""
    codes = np.asarray(codes, dtype=np.uint64)
    stream = (codes[..., None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    stream = stream.reshape(*codes.shape[:-1], -1)
    short = -stream.shape[-1] % 32
    stream = np.concatenate([stream, np.zeros((*stream.shape[:-1], short), np.uint64)], -1)
    words = stream.reshape(*stream.shape[:-1], -1, 32)
    words = (words << np.arange(32, dtype=np.uint64)).sum(-1)
    return words.astype(np.uint32).view(np.int32)


def case(form, rng):
    bits, outputs, inputs, group = form["bits"], 8 * form.get("octets", 1), form["inputs"], form["group"]
    if bits == 3:
        outputs = 32
    count = -(-inputs // group)
    codes = rng.integers(0, 1 << bits, (outputs, inputs))
    zeros = rng.integers(1, 1 << bits, (outputs, count))
    scales = rng.uniform(0.01, 0.05, (outputs, count)).astype(np.float16)
    groups = np.arange(inputs) // group
    if form.get("shuffled"):
        groups = rng.permutation(groups)
    if form.get("symmetric"):
        zeros[:] = 1 << (bits - 1)
    values = (codes - zeros[:, groups]).astype(np.float32) * scales.astype(np.float32)[:, groups]
    halves = lambda a: [int(x) for x in a.view(np.uint16).ravel()]
    tensor = lambda name, dtype, a: {"name": name, "dtype": dtype, "shape": list(a.shape), "values": [int(x) for x in a.ravel()]}
    if form["way"] == "gptq":
        less = 1 if form["version"] == "gptq" else 0
        parts = [
            tensor("qweight", "I32", pack(codes, bits).T.copy()),
            tensor("qzeros", "I32", pack((zeros - less).T, bits)),
            tensor("g_idx", "I32", groups.astype(np.int32)),
        ]
        scale = ("scales", np.ascontiguousarray(scales.T))
        config = {"quant_method": "gptq", "bits": bits, "group_size": form.get("stated", group), "desc_act": bool(form.get("shuffled")),
                  "sym": bool(form.get("symmetric")), "checkpoint_format": form["version"], "damp_percent": 0.01, "lm_head": False}
    elif form["way"] == "awq":
        order = lambda a: a.reshape(a.shape[0], -1, 8)[:, :, AWQ_ORDER].reshape(a.shape)
        parts = [tensor("qweight", "I32", pack(order(codes.T), 4)), tensor("qzeros", "I32", pack(order(zeros.T), 4))]
        scale = ("scales", np.ascontiguousarray(scales.T))
        config = {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True}
    else:
        parts = [tensor("weight_packed", "I32", pack(codes, bits)),
                 {"name": "weight_shape", "dtype": "I64", "shape": [2], "values": [outputs, inputs]}]
        if not form.get("symmetric"):
            parts.append(tensor("weight_zero_point", "I32", pack(zeros.T, bits).T.copy()))
        if form.get("shuffled"):
            parts.append(tensor("weight_g_idx", "I32", groups.astype(np.int32)))
        scale = ("weight_scale", scales)
        weights = {"num_bits": bits, "type": "int", "group_size": group, "strategy": "group", "symmetric": bool(form.get("symmetric"))}
        config = {"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"],
                  "config_groups": {"group_0": {"weights": weights, "targets": ["Linear"], "input_activations": None}}}
    name, stored = scale
    parts.append({"name": name, "dtype": "F16", "shape": list(stored.shape), "values": halves(stored)})
    return {"config": config, "shape": [outputs, inputs], "parts": parts,
            "expected": [float(v) for v in values.ravel()]}


FORMS = [
    {"way": "gptq", "version": "gptq", "bits": 4, "inputs": 16, "group": 8},
    {"way": "gptq", "version": "gptq_v2", "bits": 4, "inputs": 16, "group": 8, "shuffled": True},
    {"way": "gptq", "version": "gptq", "bits": 8, "inputs": 16, "group": 16, "stated": -1, "symmetric": True},
    {"way": "gptq", "version": "gptq", "bits": 3, "inputs": 32, "group": 16},
    {"way": "gptq", "version": "gptq", "bits": 2, "inputs": 16, "group": 8, "octets": 2},
    {"way": "awq", "bits": 4, "inputs": 16, "group": 8, "octets": 2},
    {"way": "rows", "bits": 4, "inputs": 16, "group": 8, "symmetric": True},
    {"way": "rows", "bits": 4, "inputs": 16, "group": 8, "shuffled": True},
    {"way": "rows", "bits": 8, "inputs": 16, "group": 8},
]

if __name__ == "__main__":
    rng = np.random.default_rng(20260101)
    print("[\n" + ",\n".join(json.dumps(case(form, rng)) for form in FORMS) + "\n]")
