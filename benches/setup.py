"""Makes what benches/performance.rs measures against: the peers' environment and the models.

    python3 benches/setup.py [FOLDER]

FOLDER (`target/real` if left out) is shared with tests/real: `venv` gets PyTorch, transformers and llama.cpp's server
(`xllamacpp`), and `models` what tests/real/setup.py makes. What is there is kept.
"""

import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).absolute().parent.parent
PACKAGES = ["torch", "transformers==5.23.0", "gguf", "sentencepiece", "protobuf", "accelerate", "xllamacpp==2026.10.11549"]
# The peer of benches/equality.rs, and what it imports and does not declare.
PACKAGES += ["model-equality-testing==0.0.2", "tqdm"]


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/real").absolute()
    python, models = folder / "venv/bin/python", folder / "models"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)

    def run(*arguments):
        subprocess.run([str(python), *map(str, arguments)], check=True)

    run("-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES)
    run(ROOT / "tests/real/setup.py", models)
    print(f"FILIATION_REAL={models} cargo bench -p filiation-cli --bench performance")


if __name__ == "__main__":
    main()
