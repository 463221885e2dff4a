"""The fastest f32 matrix product of PyTorch: floating-point operations a second.

    python benches/peer_product.py JOB
"""

import json
import time

import torch

import peer

SIDE = 4096


def main():
    job, _ = peer.job()
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    out = torch.empty(SIDE, SIDE)
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < 2 * job["seconds"]:
        seconds, _ = peer.timed(lambda: torch.matmul(a, b, out=out))
        best = min(best, seconds)
    print(json.dumps({"flops": 2 * SIDE**3 / best}), flush=True)


if __name__ == "__main__":
    main()
