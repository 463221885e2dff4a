"""llama.cpp's own server (PyPI `xllamacpp`) for one GGUF file, on this machine, until standard input closes.

    python serve.py MODEL.gguf

Prints the address that it listens at.
"""

import socket
import sys

import xllamacpp

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 4096
params.n_parallel = 2
params.cpuparams.n_threads = 1
params.hostnames = ["127.0.0.1"]
params.port = port
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
