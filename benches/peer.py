"""What the peers' scripts share: reading the job, loading the model, timing, telling."""

import json
import pathlib
import resource
import sys
import time

import torch


def job():
    """The job, and whether only the best batch size is asked for."""
    described = json.loads(pathlib.Path(sys.argv[1]).read_text())
    torch.set_num_threads(described["threads"])
    return described, "--tune" in sys.argv


def load(described):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(described["model"], dtype=torch.float32, attn_implementation="sdpa").eval()
    return model.to(device(described))


def device(described):
    """Where to compute: the processor if the job says nothing."""
    return torch.device(described.get("device", "cpu"))


def log_probs(logits, targets):
    """Log-softmax at the targets alone: quicker here than the whole of it and a look-up."""
    return logits.gather(-1, targets[..., None])[..., 0] - torch.logsumexp(logits, -1)


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def tune(sizes, work):
    """Tells the batch size at which `work` is quickest; what the first call prepares is not counted."""
    work(sizes[0])
    tried = {size: timed(lambda: work(size))[0] for size in sizes}
    print(json.dumps({"batch": min(tried, key=tried.get), "tried": tried}), flush=True)


def tell(seconds, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, **more}), flush=True)
