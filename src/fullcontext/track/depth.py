"""Answers -> score by depth as a table, and as figures on a fixed scale of 0-100."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.records import Answer
from fullcontext.report.statistics import Floats, bin_means
from fullcontext.store import read_lines
from fullcontext.track.mirror import Figures, Table

COLUMNS = (
    "step", "tokens", "task", "length", "bin", "depth_from", "depth_to", "score", "strict", "n",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DepthCurve:
    """Scores of one task at one length by depth bin; arrays of shape (bins,), nan where empty."""

    task: str
    length: int
    """Requested tokens; 0 where that is not known."""
    score: Floats
    strict: Floats | None
    items: Floats


def read_answers(folder: Path) -> dict[int, dict[str, list[Answer]]]:
    """Step -> task -> answers, from the files that probes in training write."""
    found: dict[int, dict[str, list[Answer]]] = {}
    for path in sorted(folder.glob("*_step*.jsonl")):
        task, _, step = path.stem.rpartition("_step")
        found.setdefault(int(step), {})[task] = [Answer(**line) for line in read_lines(path)]
    return found


def depth_curves(answers: dict[str, list[Answer]], bins: int) -> list[DepthCurve]:
    """One curve a task and length, in the order of tasks and with lengths rising."""
    found = []
    for task, given in answers.items():
        for length in sorted({answer.length for answer in given}):
            found.append(_curve(task, length, [a for a in given if a.length == length], bins))
    return found


def _curve(task: str, length: int, answers: Sequence[Answer], bins: int) -> DepthCurve:
    depth = np.array([answer.depth for answer in answers])
    score, items = bin_means(np.array([answer.score for answer in answers]), depth, bins)
    strict = [answer.strict for answer in answers if answer.strict is not None]
    full = len(strict) == len(answers)
    return DepthCurve(
        task,
        length,
        score,
        bin_means(np.array(strict), depth, bins)[0] if full else None,
        items.astype(np.float64),
    )


def table(curves: Sequence[DepthCurve], step: int, tokens: float | None) -> Table:
    """A row for each bin that holds an answer; scores in 0-1."""
    rows = []
    for curve in curves:
        bins = len(curve.score)
        for index in np.flatnonzero(curve.items):
            strict = None if curve.strict is None else float(curve.strict[index])
            rows.append(
                [
                    step, tokens, curve.task, curve.length, int(index), index / bins,
                    (index + 1) / bins, float(curve.score[index]), strict, int(curve.items[index]),
                ]
            )  # fmt: skip
    return Table(COLUMNS, rows)


def draw(curves: Sequence[DepthCurve], step: int, folder: Path) -> Figures:
    """PNG files: a task's curves, one line a length; with several lengths a map of both."""
    folder.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    for task in dict.fromkeys(curve.task for curve in curves):
        own = [curve for curve in curves if curve.task == task]
        figures[f"curves/{task}"] = _lines(own, step, folder / f"{task}_step{step:06d}.png")
        if len(own) > 1:
            path = folder / f"{task}_map_step{step:06d}.png"
            figures[f"curves/{task}_map"] = _map(own, step, path)
    return figures


def _lines(curves: Sequence[DepthCurve], step: int, path: Path) -> Path:
    figure, axes = _canvas(f"{curves[0].task}, step {step}")
    for curve in curves:
        bins = len(curve.score)
        label = f"{curve.length or 'all'} tokens, n = {int(curve.items.sum())}"
        axes.plot((np.arange(bins) + 0.5) / bins, 100 * curve.score, marker="o", label=label)
    axes.set(xlim=(0, 1), ylim=(-2, 102), ylabel="score, points of 100")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return _saved(figure, path)


def _map(curves: Sequence[DepthCurve], step: int, path: Path) -> Path:
    figure, axes = _canvas(f"{curves[0].task}, step {step}: score, points of 100")
    scores = 100 * np.array([curve.score for curve in curves])
    image = axes.imshow(
        scores, vmin=0, vmax=100, cmap="viridis", aspect="auto",
        extent=(0, 1, -0.5, len(curves) - 0.5), origin="lower",
    )  # fmt: skip
    axes.set_yticks(range(len(curves)), [str(curve.length) for curve in curves])
    axes.set_ylabel("length, tokens")
    figure.colorbar(image)
    return _saved(figure, path)


def _canvas(title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot: no state shared with other figures

    figure = Figure(figsize=(5, 3.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title.replace("$", r"\$"), fontsize="medium")
    axes.set_xlabel("relative depth (0 start, 1 end of the context)")
    return figure, axes


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path)
    return path
