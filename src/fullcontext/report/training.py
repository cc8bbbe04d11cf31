"""Metrics of training against steps, tokens or time: one colour a group, one thin line a seed."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.report.drawing import Drawing, Panel, colour, draw, marker
from fullcontext.report.figures import plain, slug
from fullcontext.report.findings import Findings
from fullcontext.report.groups import Group
from fullcontext.report.statistics import Floats

AXES = {"step": "optimizer step", "tokens": "tokens seen", "seconds": "wall time, seconds"}
"""What the curves can stand against, and how it is called."""
METRICS = {"loss": "training loss", "lr": "learning rate", "grad_norm": "gradient norm"}
"""The metrics that come first, and how they are called."""
MOST = 12
"""Figures an axis."""
SEEDS = 48
"""Most lines of single seeds in a figure; above, the mean of each group stands alone."""
POINTS = 120
"""Points of the mean of a group."""
SIZE = (3.6, 2.5)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A metric of a run: x and y of shape (points,)."""

    x: Floats
    y: Floats


class History:
    """The metrics of the runs as columns, made once for all figures."""

    def __init__(self, findings: Findings, shown: list[int]) -> None:
        self.groups = [findings.groups[at] for at in shown]
        runs = [at for group in self.groups for at in group.runs]
        self._columns = {at: _columns(findings.runs[at].metrics) for at in runs}
        self.keys = _chosen({key for each in self._columns.values() for key in each}, self)
        self.several = len(findings.groups) > 1

    def longest(self, key: str) -> int:
        """The most values that a run has of a metric."""
        given = (each[key] for each in self._columns.values() if key in each)
        return max((int(np.isfinite(column).sum()) for column in given), default=0)

    def series(self, run: int, key: str, axis: str) -> Series | None:
        """A metric of a run against an axis; None where there is no such thing."""
        columns = self._columns[run]
        if key not in columns or axis not in columns:
            return None
        known = np.isfinite(columns[key]) & np.isfinite(columns[axis])
        return Series(columns[axis][known], columns[key][known]) if known.any() else None


def _columns(metrics: tuple[dict[str, float], ...]) -> dict[str, Floats]:
    keys = dict.fromkeys(key for line in metrics for key in line)
    return {key: np.array([line.get(key, np.nan) for line in metrics]) for key in keys}


def _chosen(logged: set[str], history: History) -> list[str]:
    """Loss, learning rate, gradient norm, the loss of each kind, then averages of probes."""
    kinds = sorted(key for key in logged if key.startswith("loss/") and "depth_" not in key)
    probes = sorted(
        key
        for key in logged
        if key.startswith("probe/") and key.endswith("/avg") and history.longest(key) > 2
    )
    depths = sorted(key for key in logged if key.startswith("loss/depth_"))
    keys = [key for key in METRICS if key in logged]
    return [*keys, *kinds, *probes, *depths][:MOST]


def figures(history: History, axis: str, folder: Path | None) -> list[Drawing]:
    """A figure for each metric that any run has against `axis`, one of AXES."""
    made = [_figure(history, key, axis, folder) for key in history.keys]
    return [each for each in made if each is not None]


def _figure(history: History, key: str, axis: str, folder: Path | None) -> Drawing | None:
    found = {
        group.index: [line for at in group.runs if (line := history.series(at, key, axis))]
        for group in history.groups
    }
    lines = [(group, found[group.index]) for group in history.groups if found[group.index]]
    if not lines:
        return None
    number = sum(len(series) for _, series in lines)
    limit = max(60, 2400 // number)
    thin = any(len(each.x) > limit for _, series in lines for each in series)
    means = any(len(series) > 1 for _, series in lines)
    title = METRICS.get(key, key.replace("loss/", "loss: ").replace("_", " "))
    said = ["each point the mean of neighbouring steps" if thin else "every logged step"]
    said += ["bold: mean of seeds"] if means else []
    panel = Panel(
        key=f"train_{slug(key)}_by_{axis}",
        title=plain(title),
        note="; ".join(said),
        alt=f"{title} against {AXES[axis]}: " + _ends(lines),
        size=SIZE,
    )

    def paint(axes: Any) -> None:
        for group, series in lines:
            if len(series) == 1 or number <= SEEDS:
                for each in series:
                    _draw(axes, group, thinned(each, limit), faint=len(series) > 1)
            if len(series) > 1:
                _draw(axes, group, mean(series), faint=False)
        values = np.concatenate([each.y for _, series in lines for each in series])
        if key == "grad_norm" and values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
        axes.set_xlabel(AXES[axis])
        axes.set_xlim(left=0)
        ticks(axes)
        axes.margins(y=0.08)

    return draw(panel, folder, paint)


def _draw(axes: Any, group: Group, series: Series, *, faint: bool) -> None:
    (line,) = axes.plot(
        series.x,
        series.y,
        color=colour(group.index),
        marker="" if len(series.x) > 1 else marker(group.index),
        linewidth=0.6 if faint else 1.6,
        alpha=0.35 if faint else 1,
        label="_seed" if faint else plain(group.label),
    )
    line.set_gid(f"run-{group.index}-line")


def thinned(series: Series, limit: int) -> Series:
    """At most `limit` points: means of equal blocks."""
    size = max(1, math.ceil(len(series.x) / limit))
    starts = np.arange(0, len(series.x), size)
    lengths = np.diff([*starts, len(series.x)])
    x, y = (np.add.reduceat(each, starts) / lengths for each in (series.x, series.y))
    return Series(x, y)


def mean(series: list[Series]) -> Series:
    """The mean of seeds at common points, as far as all of them go."""
    low, high = max(each.x[0] for each in series), min(each.x[-1] for each in series)
    if high <= low:
        longest = max(series, key=lambda each: float(each.x[-1]))
        return Series(longest.x[-1:], np.array([np.mean([each.y[-1] for each in series])]))
    x = np.linspace(low, high, POINTS)
    each_thinned = [thinned(each, POINTS) for each in series]
    return Series(x, np.mean([np.interp(x, each.x, each.y) for each in each_thinned], axis=0))


def _ends(lines: list[tuple[Group, list[Series]]]) -> str:
    said = [
        f"{group.label} from {np.mean([each.y[0] for each in series]):.4g}"
        f" to {np.mean([each.y[-1] for each in series]):.4g}"
        for group, series in lines[:8]
    ]
    return "; ".join(said) + (f"; and {len(lines) - 8} more" if len(lines) > 8 else "")


def ticks(axes: Any) -> None:
    """A few ticks: 20k, 1.2M on the x axis, 0.0002 and never an offset on the y axis."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
