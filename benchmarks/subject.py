"""What the training benchmarks share: a model of 19M parameters, questions, and how sides are run.

Each side runs in a process of its own, on one thread, with its memory capped, and prints one line
of JSON. The model is Mistral-shaped with random weights and 32,000 words: it costs
what it costs, and learns nothing.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.randomness import rng
from fullcontext.records import Asked, Example, Ids

WORDS = 32000
PROMPT, ANSWER = 40, 20
"""Tokens of a question and of its answer."""
CAP_GIB = 18
SIZES = {
    "hidden_size": 256, "intermediate_size": 688, "num_layers": 4, "num_heads": 8,
    "num_kv_heads": 2, "head_dim": 32, "vocab_size": WORDS, "max_positions": 40960,
}  # fmt: skip


def config(*overrides: str) -> Any:
    """A training config of the model."""
    from fullcontext import compose

    compose.register()
    sizes = [f"model.architecture.{name}={value}" for name, value in SIZES.items()]
    words = [
        "data=key_value", "model=tiny", "model.architecture.tie_embeddings=false", "sharding=none",
        "tracking=none", "probe=none", "precision=fp32", "schedule.peak=1e-4", "threads=1",
    ]  # fmt: skip
    return compose.compose_verb("train", [*words, *sizes, *overrides])


def loop(given: Any) -> Any:
    """The training loop around a fresh model."""
    import torch

    from fullcontext.data.mixture import Mixture
    from fullcontext.data.tokens import Encoder, Prompt
    from fullcontext.model import load, sharding, tokenizer
    from fullcontext.train.loop import Loop

    prompt = Prompt(given.data, given.model.chat, Encoder(tokenizer.load(given.model)))
    mixture = Mixture(given.data, prompt, None, given.seed, given.batch_size)
    model = load.load(given.model, given.positions, given.seed).train()
    sharding.recompute(model, given.checkpointing)
    return Loop(given, model, mixture, torch.device("cpu"))


def example(context: int, questions: int, index: int, answer: int = ANSWER) -> Example:
    """A context of random words with questions of random words."""
    draw = rng(0, "benchmark example", index)

    def take(n):
        return draw.integers(5, WORDS, n).astype(np.int32)

    words: Ids = take(context)
    asked = [Asked(str(i), "key_value", take(PROMPT), take(answer)) for i in range(questions)]
    return Example(index, words, tuple(asked))


def run_side(script: str, *words: str, python: str = sys.executable) -> dict[str, Any]:
    """Runs `script --side WORDS` and returns what it prints, with its peak memory in MB."""
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(root / "src"), "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    child = subprocess.Popen(
        [python, script, "--side", *words], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, errors = child.communicate()
    if child.returncode:
        sys.exit(f"{' '.join(words)} failed: {errors[-2000:]}")
    return dict(json.loads(out.splitlines()[-1]))


def confine() -> None:
    """Memory that runs out before the machine's does."""
    resource.setrlimit(resource.RLIMIT_AS, (CAP_GIB << 30, CAP_GIB << 30))


def resident() -> tuple[float, float]:
    """(now, most so far) in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Vm")}
    return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024


def machine() -> str:
    """What the figures are of."""
    import torch

    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{names[0] if names else platform.processor()}, one thread, {os.cpu_count()} cores,"
        f" torch {torch.__version__}, load average {os.getloadavg()[0]:.1f}"
    )
