"""Makes what benches/watermarks.rs measures against: detectors of other projects, in an environment of their own.

    python3 benches/setup_watermarks.py [FOLDER]

FOLDER (`target/watermarks` if left out) gets `venv`, with PyTorch, transformers and synthid-text, and `engines`, the
detectors of SGLang and vLLM out of their wheels, which are not installed. What is there is kept. vLLM's wheel is large:
without `--vllm` it is left out, and so are its figures.
"""

import pathlib
import subprocess
import sys
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).absolute().parent.parent
PACKAGES = ["torch", "transformers==5.23.0", "numpy", "msgspec"]
ENGINES = {"sglang==0.5.23": "sglang/srt/sampling/watermarking/", "vllm==0.33.0": "vllm/v1/watermarking/"}


def main():
    given = [a for a in sys.argv[1:] if not a.startswith("--")]
    folder = pathlib.Path(given[0] if given else ROOT / "target/watermarks").absolute()
    python, engines = folder / "venv/bin/python", folder / "engines"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)

    def pip(*arguments):
        subprocess.run([str(python), "-m", "pip", *arguments, "-q", "--disable-pip-version-check"], check=True)

    pip("install", *PACKAGES)
    # Its other needs are for training detectors.
    pip("install", "--no-deps", "synthid-text==0.2.1")
    for package, inside in ENGINES.items():
        if package.startswith("vllm") and "--vllm" not in sys.argv:
            continue
        if (engines / inside).exists():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            pip("download", "--no-deps", "-d", scratch, package)
            with zipfile.ZipFile(next(pathlib.Path(scratch).glob("*.whl"))) as wheel:
                wheel.extractall(engines, [n for n in wheel.namelist() if n.startswith(inside)])
    print(f"FILIATION_WATERMARKS={folder} cargo bench -p filiation-cli --bench watermarks")


if __name__ == "__main__":
    main()
