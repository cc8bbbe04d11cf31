"""What a checkpoint costs the steps around it, written at once or while training goes on.

    python benchmarks/checkpoint.py [19m|smollm2] [--saves 5] [--every 4] [--tokens 4096]

The same loop takes steps without saving, saving synchronously and saving asynchronously; a save is
due every so many steps. Its stall is the time in `save` plus what the steps until the next save
take longer than steps without. The first save, which makes the buffers, is reported by itself.

What it does not show: GPUs (the copy to main memory goes over PCIe there), several ranks, disks
that many machines share. Training has one thread; the thread that writes runs on another core.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fullcontext import compose
from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, tokenizer
from fullcontext.train.loop import Loop
from fullcontext.train.saving import Saver

SIZES = {
    "19m": (256, 896, 4, 4, 2, 64, 32000, False),
    "smollm2": (576, 1536, 30, 9, 3, 64, 49152, True),
}
"""Width, inner width, layers, heads, KV heads, width of a head, words, tied."""
KEYS = (
    "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads", "head_dim",
    "vocab_size", "tie_embeddings",
)  # fmt: skip


class Cost(NamedTuple):
    """Seconds of the saves of one run."""

    calls: list[float]
    """In `save`, the first included."""
    rounds: list[float]
    """Of the steps from one save to the next, `save` left out; the first round left out."""


def made(size: str, tokens: int, folder: Path, overrides: list[str]) -> tuple[Loop, Saver]:
    """Model, data and loop as train.py makes them; steps of about so many tokens."""
    sizes = dict(zip(KEYS, SIZES[size], strict=True))
    config = compose.compose_verb("train", [
        "data=key_value_symbols", "model=symbols", "sharding=none", "precision=fp32",
        f"batch_size={tokens // 46}", "max_steps=100000",
        *(f"model.architecture.{key}={value}" for key, value in sizes.items()), *overrides,
    ])  # fmt: skip
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    mixture = Mixture(config.data, prompt, None, config.seed, config.batch_size)
    model = load.load(config.model, config.positions, config.seed).train()
    return Loop(config, model, mixture, torch.device("cpu")), Saver(folder, config)


def measured(steps: Iterator[Any], save: Any, every: int, saves: int) -> Cost:
    """`saves` rounds of `every` steps, a save after each, and one round to end with."""
    calls, rounds = [], []
    for _ in range(saves):
        calls.append(timed(save))
        rounds.append(timed(lambda: [next(steps) for _ in range(every)]))
    return Cost(calls, rounds[1:])


def timed(work: Any) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", nargs="?", choices=sorted(SIZES), default="19m")
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=4096)
    given = parser.parse_args()
    torch.set_num_threads(1)
    costs: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("none", "synchronous", "asynchronous"):
            flag = str(name == "asynchronous").lower()
            loop, saver = made(
                given.size, given.tokens, Path(folder) / name, [f"checkpoint.asynchronous={flag}"]
            )
            steps = loop.run(100_000, lambda *_: None)
            next(steps)

            def save(loop: Loop = loop, saver: Saver = saver, name: str = name) -> None:
                if name != "none":
                    saver.save(loop.progress.step, loop.model, loop.optimizer, loop.state())

            costs[name] = measured(steps, save, given.every, given.saves)
            saver.close()
            size = sum(f.stat().st_size for f in (Path(folder) / name).rglob("*.distcp"))
            steps.close()
        report(given, costs, size / min(given.saves, 2))


def report(given: argparse.Namespace, costs: dict[str, Cost], size: float) -> None:
    """A Markdown table."""
    step = statistics.median(costs["none"].rounds) / given.every
    say = sys.stdout.write
    say(
        f"{given.size}: a checkpoint has {size / 1e6:,.0f} MB, a step without takes {step:.2f} s;"
        f" medians of {given.saves - 1} saves, one every {given.every} steps\n\n"
        "| checkpoints | first save | in save | steps longer by | stall | share of a step |\n"
        "|---|--:|--:|--:|--:|--:|\n"
    )
    for name in ("synchronous", "asynchronous"):
        call = statistics.median(costs[name].calls[1:])
        longer = statistics.median(costs[name].rounds) - step * given.every
        say(
            f"| {name} | {costs[name].calls[0]:.2f} s | {call:.3f} s | {longer:+.3f} s |"
            f" {call + longer:.3f} s | {(call + longer) / step:.1%} |\n"
        )


if __name__ == "__main__":
    main()
