"""Makes what benches/performance.rs measures against: the peers' environment, the models, and a GGUF file in F16.

    python3 benches/setup.py [FOLDER]

FOLDER (`target/real` if left out) is shared with tests/real: `venv` gets PyTorch, transformers and llama.cpp's server
(`xllamacpp`), and `models` what tests/real/setup.py makes, with `smollm2-f16-gguf` added. What is there is kept.
"""

import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).absolute().parent.parent
PACKAGES = ["torch", "transformers==5.23.0", "gguf", "sentencepiece", "protobuf", "accelerate", "xllamacpp==2026.10.11549"]


def widen(source, target):
    """The same model with every matrix in F16 and every vector in F32, as llama.cpp's own converter stores them."""
    import gguf
    import numpy

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".tmp")
    writer = gguf.GGUFWriter(partial, architecture)
    own = {"general.architecture", "general.file_type", "general.quantization_version"}
    for field in reader.fields.values():
        if field.name in own or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(numpy.float16 if values.ndim == 2 else numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(target)


def main():
    if sys.argv[1:2] == ["--widen"]:
        return widen(*map(pathlib.Path, sys.argv[2:]))
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/real").absolute()
    python, models = folder / "venv/bin/python", folder / "models"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)

    def run(*arguments):
        subprocess.run([str(python), *map(str, arguments)], check=True)

    run("-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES)
    run(ROOT / "tests/real/setup.py", models)
    target = models / "smollm2-f16-gguf/smollm2.gguf"
    if not target.exists():
        run(__file__, "--widen", models / "smollm2-gguf/smollm2.gguf", target)
    print(f"FILIATION_REAL={models} cargo bench -p filiation-cli --bench performance")


if __name__ == "__main__":
    main()
