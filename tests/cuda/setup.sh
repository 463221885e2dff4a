#!/usr/bin/env bash
# Makes a CUDA toolkit that the feature `cuda` builds with, from the package index alone: no card, no driver, no
# administrator. Needs python3 with venv, cargo, and a C compiler.
#
#     tests/cuda/setup.sh && . target/cuda/env && cargo build --release -p filiation-cli --features cuda
#
# Everything goes to target/cuda: `venv` with the vendor's packages, `toolkit`, a tree of links to them in the form that
# build scripts look for, with a libcuda.so.1 in `lib/stubs` whose every call answers CUDA_ERROR_NO_DEVICE. What is there is
# kept.
set -euo pipefail
cd "$(dirname "$0")/../.."

here="$PWD/target/cuda"
venv="$here/venv" toolkit="$here/toolkit" stubs="$here/toolkit/lib/stubs"

# 13.0, not the newest: a driver takes the PTX of its own version and older ones, and drivers of 13.0 are about.
if [ ! -f "$here/installed" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check \
    "nvidia-cuda-nvcc==13.0.*" "nvidia-cuda-crt==13.0.*" "nvidia-nvvm==13.0.*" "nvidia-cuda-cccl==13.0.*" \
    "nvidia-cuda-runtime==13.0.*" "nvidia-cuda-nvrtc==13.0.*" "nvidia-cublas==13.0.*" "nvidia-curand==10.4.*"
  touch "$here/installed"
fi

# The packages hold `lib/libcublas.so.13`; a linker asks for `libcublas.so`.
if [ ! -d "$toolkit" ]; then
  packages=$(echo "$venv"/lib/python3*/site-packages/nvidia/cu13)
  rm -rf "$toolkit.tmp"
  cp -rs "$packages" "$toolkit.tmp"
  for name in cublas cublasLt cudart curand nvrtc; do
    found=$(basename "$(echo "$toolkit.tmp/lib/lib$name".so.*)")
    ln -s "$found" "$toolkit.tmp/lib/lib$name.so"
  done
  mv "$toolkit.tmp" "$toolkit"
fi

# libcuda comes with the driver. The stub has every name that cudarc declares, so that programs link and start.
if [ ! -e "$stubs/libcuda.so" ]; then
  mkdir -p "$stubs"
  manifest=$(cargo metadata --format-version 1 --features filiation-cli/cuda |
    python3 -c 'import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"))')
  grep -ohE '\bfn cu[A-Z][A-Za-z0-9_]*' "$(dirname "$manifest")/src/driver/sys/mod.rs" | sort -u |
    sed -E 's/^fn (.*)$/int \1(void) { return 100; }/' >"$stubs/cuda.c"
  cc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$stubs/libcuda.so.1" "$stubs/cuda.c"
  ln -s libcuda.so.1 "$stubs/libcuda.so"
fi

# sm_90 is what the kernels are compiled for; another card needs another number and another build.
cat >"$here/env" <<END
export CUDA_HOME="$toolkit" CUDA_PATH="$toolkit" NVCC="$toolkit/bin/nvcc" PATH="$toolkit/bin:\$PATH"
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-90}" CUDAFORGE_THREADS="\${CUDAFORGE_THREADS:-$(nproc)}"
END
