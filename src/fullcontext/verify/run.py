"""verify.py: does every layout of the composed config give the same loss and gradient?"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from fullcontext.config import TrainConfig
from fullcontext.launch import World
from fullcontext.records import Example
from fullcontext.train import checkpoint
from fullcontext.verify.layouts import Layout, examples, layouts, separated
from fullcontext.verify.measure import Measured, in_ranks, loop_of, on_gpu

GOAL = 1e-5
"""Largest relative difference that fp32 sums in another order leave."""
_STEPS = 4


def run(config: TrainConfig) -> None:
    """Prints a table of largest relative differences. Raises SystemExit(1), naming the first
    layout that fails."""
    given = examples(config)
    table = Table("layout", "loss", "gradient", "worst weight", title=_title(config, given))
    first: str | None = None
    with tempfile.TemporaryDirectory() as folder:
        for name, loss, gradient, weight in _differences(config, given, Path(folder)):
            fails = not max(loss, gradient) <= GOAL
            table.add_row(name, f"{loss:.1e}", f"{gradient:.1e}", weight if gradient else "")
            first = first or (name if fails else None)
    Console(file=sys.stdout).print(table)
    if first is not None:
        sys.stderr.write(
            f"error: the layout {first!r} differs by more than {GOAL:g}; do not train with it\n"
        )
        raise SystemExit(1)
    sys.stdout.write(f"all layouts agree to {GOAL:g}\n")


def _title(config: TrainConfig, given: list[Example]) -> str:
    questions = sum(example.questions for example in given)
    return (
        f"{questions} questions in {len(given)} contexts, {config.objective.name} normalised by"
        f" {config.objective.normalise.value}, largest relative differences"
    )


def _differences(
    config: TrainConfig, given: list[Example], folder: Path
) -> Iterable[tuple[str, float, float, str]]:
    reference, *others = layouts(config, given)
    expected = in_ranks(reference, given, folder)
    yield reference.name, 0.0, 0.0, ""
    for layout in [*others, *on_gpu(config, reference.config)]:
        yield layout.name, *difference(expected, in_ranks(layout, given, folder))
    yield "resumed half-way", *_resumed(reference, separated(given), folder)


def difference(expected: Measured, found: Measured) -> tuple[float, float, str]:
    """Relative difference of the losses; that of the gradients, and the weight it is worst in.

    A gradient's difference is relative to the largest entry of that weight's gradient.
    """
    loss = abs(found.loss - expected.loss) / abs(expected.loss)
    worst, name = 0.0, ""
    for each, gradient in expected.gradients.items():
        if each not in found.gradients or found.gradients[each].shape != gradient.shape:
            return loss, float("inf"), each
        apart = float((found.gradients[each] - gradient).abs().max() / gradient.abs().max())
        if not apart <= worst:
            worst, name = apart, each
    return loss, worst, name


def _resumed(layout: Layout, given: list[Example], folder: Path) -> tuple[float, float, str]:
    """Weights after some steps, against those with a checkpoint half-way."""
    world = World(0, 1, torch.device("cpu"))
    straight, half = loop_of(layout, world), loop_of(layout, world)
    for _ in range(_STEPS):
        last = straight.step(given, _STEPS)
        straight.progress.step += 1
    for _ in range(_STEPS // 2):
        half.step(given, _STEPS)
        half.progress.step += 1
    state = checkpoint.state(half.model, half.optimizer)
    saved = checkpoint.write(folder, half.progress.step, state, "{}")
    again = loop_of(layout, world)
    checkpoint.load(saved, again.model, again.optimizer)
    again.progress.step = half.progress.step
    for _ in range(_STEPS - _STEPS // 2):
        resumed = again.step(given, _STEPS)
        again.progress.step += 1
    weights = [_weights(loop.model) for loop in (straight, again)]
    return difference(Measured(last.loss, weights[0]), Measured(resumed.loss, weights[1]))


def _weights(model: Any) -> dict[str, Any]:
    return {name: weight.detach() for name, weight in model.named_parameters()}
