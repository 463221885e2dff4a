"""Detectors of other projects, timed: `peer_watermarks.py JOB ENGINES`, where JOB is a file of JSON with `detector`, its
parameters and `texts` (lists of token ids). Prints the seconds of the quickest way to call it, and what it counted."""

import hashlib
import importlib
import json
import pathlib
import sys
import time
import types

JOB = json.loads(pathlib.Path(sys.argv[1]).read_text())
ENGINES = sys.argv[2]


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def tell(seconds, counted):
    print(json.dumps({"seconds": seconds, "counted": counted}), flush=True)


def package(name, path=None, **members):
    module = types.ModuleType(name)
    module.__path__ = [path] if path else []
    for key, value in members.items():
        setattr(module, key, value)
    sys.modules[name] = module


def transformers():
    """`WatermarkDetector`, each n-gram once."""
    import torch
    from transformers import PreTrainedConfig, WatermarkDetector, WatermarkingConfig

    torch.set_num_threads(JOB["threads"])
    config = PreTrainedConfig()
    config.vocab_size, config.bos_token_id = JOB["vocabulary"], -1
    marking = WatermarkingConfig(
        greenlist_ratio=JOB["gamma"], hashing_key=JOB["key"], seeding_scheme=JOB["seeding"], context_width=JOB["width"]
    )
    detector = WatermarkDetector(config, "cpu", marking, ignore_repeated_ngrams=True)

    def work():
        found = []
        for text in JOB["texts"]:
            out = detector(torch.tensor([text]), return_dict=True)
            found.append([int(out.num_tokens_scored[0]), int(out.num_green_tokens[0])])
        return found

    # A short text first: what the first call prepares is not counted.
    detector(torch.tensor([JOB["texts"][0][:16]]), return_dict=True)
    tell(*timed(work))


def synthid(make):
    """Bits and mask of a SynthID processor, at the batch size that a trial finds quickest."""
    import torch

    torch.set_num_threads(JOB["threads"])
    processor = make(torch)
    texts = torch.tensor(JOB["texts"])

    def work(size, texts=texts):
        found = []
        for batch in texts.split(size):
            bits = processor.compute_g_values(batch)
            mask = processor.compute_context_repetition_mask(batch)
            ones = (bits * mask[:, :, None]).sum((1, 2))
            found += [[int(n), int(k)] for n, k in zip(mask.sum(1), ones)]
        return found

    sizes = [s for s in (1, 4, 16, 64) if s <= len(texts)]
    some = texts[:, :96]
    work(sizes[0], some)
    best = min(sizes, key=lambda size: timed(lambda: work(size, some))[0])
    tell(*timed(lambda: work(best)))


def synthid_transformers(torch):
    from transformers.generation.logits_process import SynthIDTextWatermarkLogitsProcessor

    return SynthIDTextWatermarkLogitsProcessor(
        ngram_len=JOB["width"] + 1, keys=JOB["keys"], sampling_table_size=2**16, sampling_table_seed=0,
        context_history_size=1024, device=torch.device("cpu"),
    )


def synthid_package(torch):
    from synthid_text import logits_processing

    return logits_processing.SynthIDLogitsProcessor(
        ngram_len=JOB["width"] + 1, keys=JOB["keys"], sampling_table_size=2**16, sampling_table_seed=0,
        context_history_size=1024, temperature=1.0, top_k=40, device=torch.device("cpu"),
    )


def sglang():
    for name in ("sglang", "sglang.srt", "sglang.srt.sampling"):
        package(name, f"{ENGINES}/{name.replace('.', '/')}")
    module = importlib.import_module("sglang.srt.sampling.watermarking.detector")
    dual = {"key_b": JOB["key_b"]} if "key_b" in JOB else {}
    detector = module.WatermarkDetector(JOB["key"], context_window=JOB["width"], **dual)

    def work():
        found = (detector.detect_tokens(text).combined for text in JOB["texts"])
        return [[f.num_contexts, f.score] for f in found]

    detector.detect_tokens(JOB["texts"][0][:64])
    tell(*timed(work))


def vllm():
    import torch

    torch.set_num_threads(JOB["threads"])
    # What the detector does not use of the engine is not there.
    for name in ("vllm", "vllm.config", "vllm.v1.worker", "vllm.v1.worker.gpu", "vllm.v1.worker.gpu.sample"):
        package(name)
    package("vllm.v1")
    package("vllm.v1.watermarking", f"{ENGINES}/vllm/v1/watermarking")
    package("vllm.v1.worker.gpu.sample.gumbel", gumbel_sample=None)

    def derived(key, domain):
        return int.from_bytes(hashlib.sha256(domain + key.to_bytes(8, "big")).digest()[:8], "big")

    package(
        "vllm.config.watermarking", derive_watermark_key=derived, WatermarkPRFName=str, WatermarkContextScope=str,
        WatermarkConfig=object,
    )
    module = importlib.import_module("vllm.v1.watermarking.gumbel")
    if "alpha" in JOB:
        detector = module.DualKeyGumbelWatermarkDetector(JOB["key"], JOB["width"], alpha=JOB["alpha"])
    else:
        detector = module.GumbelWatermarkDetector(JOB["key"], JOB["width"])

    def work():
        found = (detector.detect(text) for text in JOB["texts"])
        return [[f.num_scored_tokens, f.score] for f in found]

    detector.detect(JOB["texts"][0][:64])
    tell(*timed(work))


DETECTORS = {
    "transformers": transformers,
    "synthid@transformers": lambda: synthid(synthid_transformers),
    "synthid@package": lambda: synthid(synthid_package),
    "sglang": sglang,
    "vllm": vllm,
}
DETECTORS[JOB["detector"]]()
