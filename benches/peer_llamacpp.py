"""The peer of `generate`: llama.cpp's own HTTP server on this machine, one request a prompt, all at once.

    python benches/peer_llamacpp.py JOB
    python benches/peer_llamacpp.py --serve JOB

The server (PyPI `xllamacpp`) is a process of its own with a slot for every prompt. It ends with its standard input, so it
cannot outlive the script; the script ends it by its process id.
"""

import http.client
import json
import pathlib
import subprocess
import sys
import threading
import time

# Longest that the server may take to load, and to answer.
LOADED, ANSWERED = 120, 600


def serve(job):
    import xllamacpp

    slots, parameters = len(job["prompts"]), xllamacpp.CommonParams()
    tokens = len(job["prompts"][0]["ids"]) + job["new"]
    parameters.model.path = job["gguf"]
    parameters.hostnames = ["127.0.0.1"]
    parameters.n_parallel = slots
    parameters.n_ctx = slots * -(-tokens // 32) * 32
    parameters.n_threads_http = slots + 4
    parameters.cpuparams.n_threads = job["threads"]
    parameters.cpuparams_batch.n_threads = job["threads"]
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    server = xllamacpp.Server(parameters)
    print(json.dumps({"address": server.listening_address.split("//")[1]}), flush=True)
    sys.stdin.read()
    # Its own threads are not waited for.
    import os

    os._exit(0)


def ask(address, body):
    connection = http.client.HTTPConnection(address, timeout=ANSWERED)
    connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {answer}")
    return answer["tokens"]


def body(job, number, new):
    return {
        "prompt": job["prompts"][number]["ids"],
        "n_predict": new,
        "ignore_eos": True,
        "cache_prompt": False,
        "return_tokens": True,
        "temperature": job["temperature"],
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "seed": number,
    }


def ask_all(address, job, new):
    rows = [[] for _ in job["prompts"]]

    def one(number):
        rows[number] = ask(address, body(job, number, new))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rows


def measure(path, job):
    command = [sys.executable, __file__, "--serve", path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        watch = threading.Timer(LOADED + ANSWERED, server.kill)
        watch.start()
        try:
            address = next(json.loads(line)["address"] for line in server.stdout if line.startswith('{"address"'))
            # Threads are started and buffers are got.
            ask_all(address, job, 2)
            start = time.perf_counter()
            rows = ask_all(address, job, job["new"])
            seconds = time.perf_counter() - start
            status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
        finally:
            watch.cancel()
            server.kill()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024
    print(json.dumps({"seconds": seconds, "rows": rows, "peak_mb": peak}), flush=True)


def main():
    path = sys.argv[-1]
    job = json.loads(pathlib.Path(path).read_text())
    if "--serve" in sys.argv:
        serve(job)
    else:
        measure(path, job)


if __name__ == "__main__":
    main()
