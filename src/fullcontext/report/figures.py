"""The figures of the page: depth curves, training curves, requested against realised data."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.report.curves import Outcome
from fullcontext.report.drawing import MUTED, Drawing, Panel, colour, draw, marker
from fullcontext.report.runs import Run
from fullcontext.report.statistics import Curve, Floats

CROWD = 6
"""Runs above which bands are drawn in one panel a run, not over one another."""
MEDIUM, SMALL = (3.6, 2.5), (2.9, 1.7)
DEPTH = "relative depth (0 start, 1 end of the context)"


def score_by_depth(outcomes: list[Outcome], folder: Path) -> Drawing:
    """One task: score in points by depth; dashed the first probed step, solid the last."""
    task = outcomes[0].task
    crowd = _runs(outcomes) > CROWD
    panel = Panel(
        key=f"depth_{slug(task)}",
        title=f"{plain(task)}: score",
        note=_note(outcomes, banded=not crowd),
        alt=_alt(outcomes),
    )

    def paint(axes: Any) -> None:
        for outcome in outcomes:
            _line(axes, outcome, outcome.score.curve, 100, crowd=crowd)
        _finish_depth(axes, "score, points of 100")
        axes.set_ylim(*_score_limits(outcomes))

    return draw(panel, folder, paint)


def logp_by_depth(outcomes: list[Outcome], folder: Path) -> Drawing | None:
    """One task: mean log-probability of the gold answer by depth, a diagnostic; None without."""
    known = [outcome for outcome in outcomes if outcome.logp is not None]
    if not known:
        return None
    task = known[0].task
    crowd = _runs(known) > CROWD
    panel = Panel(
        key=f"diagnostic_{slug(task)}",
        title=f"{plain(task)}: diagnostic, not accuracy",
        note="mean gold log-probability per token, answer given" + (", 95 % bands" * (not crowd)),
        alt=f"Diagnostic for {task}: mean log-probability of the gold answer by depth bin."
        " The values are in the table below the figures.",
    )

    def paint(axes: Any) -> None:
        for outcome in known:
            if outcome.logp is not None:
                _line(axes, outcome, outcome.logp.curve, 1, crowd=crowd)
        _finish_depth(axes, "log-probability, nats")

    return draw(panel, folder, paint)


def small_multiples(outcomes: list[Outcome]) -> list[tuple[Outcome, Drawing]]:
    """One task with many runs: a small panel a run, with its bands, before the mean of all."""
    last = [outcome for outcome in outcomes if not outcome.before]
    if len(last) <= CROWD:
        return []
    stacked = np.array([outcome.score.curve.mean for outcome in last])
    known = np.maximum(np.sum(np.isfinite(stacked), axis=0), 1)
    mean = 100 * np.nansum(stacked, axis=0) / known
    limits = _score_limits(outcomes)
    return [
        (outcome, _small([each for each in outcomes if each.run == outcome.run], mean, limits))
        for outcome in last
    ]


def _small(outcomes: list[Outcome], mean: Floats, limits: tuple[float, float]) -> Drawing:
    last = outcomes[-1]
    panel = Panel(
        key=f"depth_{slug(last.task)}_{last.run}",
        title="",
        note=f"avg {100 * last.score.contrasts['avg'].value:.1f},"
        f" litm {100 * last.score.contrasts['litm'].value:.1f}",
        alt=_alt(outcomes),
        size=SMALL,
    )

    def paint(axes: Any) -> None:
        axes.plot(_centres(mean), mean, color=MUTED, linewidth=1, linestyle=":")
        for outcome in outcomes:
            _line(axes, outcome, outcome.score.curve, 100, crowd=False)
        _finish_depth(axes, "")
        axes.set_xlabel("")
        axes.set_ylim(*limits)

    return draw(panel, None, paint)


def training(
    runs: list[Run], labels: list[str], key: str, axis: str, folder: Path
) -> Drawing | None:
    """One metric of all runs against `axis` ("step" or "tokens"); None where no run has it."""
    limit = max(80, 2400 // max(1, len(runs)))
    series = {index: run.series(key) for index, run in enumerate(runs)}
    lines = {index: thinned(points, axis, limit) for index, points in series.items() if points}
    lines = {index: line for index, line in lines.items() if len(line[0])}
    if not lines:
        return None
    thin = any(len(line[0]) < len(series[index]) for index, line in lines.items())
    title = METRICS.get(key, key.replace("loss/", "loss: ").replace("_", " "))
    panel = Panel(
        key=f"train_{slug(key)}_by_{axis}",
        title=plain(title),
        note="each point the mean of neighbouring steps" if thin else "every logged step",
        alt=f"{title} against {axis}: " + _ends(lines, labels),
        size=MEDIUM,
    )

    def paint(axes: Any) -> None:
        for index, (x, y) in lines.items():
            dot = "" if len(x) > 1 else marker(index)
            (line,) = axes.plot(x, y, color=colour(index), marker=dot, label=plain(labels[index]))
            line.set_gid(f"run-{index}-line")
        values = np.concatenate([y for _, y in lines.values()])
        if key == "grad_norm" and values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
        axes.set_xlabel("optimizer step" if axis == "step" else "tokens seen")
        axes.set_xlim(left=0)
        _ticks(axes)
        axes.margins(y=0.08)

    return draw(panel, folder, paint)


METRICS = {"loss": "training loss", "lr": "learning rate", "grad_norm": "gradient norm"}


def thinned(
    points: list[tuple[float, float, float]], axis: str, limit: int
) -> tuple[Floats, Floats]:
    """(step, tokens, value) -> x and y of at most `limit` points: means of equal blocks."""
    rows = np.array(points, dtype=np.float64).reshape(-1, 3)
    rows = rows[:, [0 if axis == "step" else 1, 2]]
    rows = rows[np.isfinite(rows).all(axis=1)]
    size = max(1, math.ceil(len(rows) / limit))
    blocks = [rows[start : start + size].mean(axis=0) for start in range(0, len(rows), size)]
    x, y = np.array(blocks, dtype=np.float64).reshape(-1, 2).T
    return x, y


def slug(text: str) -> str:
    """A name fit for files and ids."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "x"


def plain(text: str) -> str:
    """Text without a meaning for matplotlib, which reads dollars as formulas and a leading
    underscore as "not in the legend"."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def _runs(outcomes: list[Outcome]) -> int:
    return len({outcome.run for outcome in outcomes})


def _line(axes: Any, outcome: Outcome, curve: Curve, scale: float, *, crowd: bool) -> None:
    """A curve and its band; in a crowd thinner, without band, the first step without markers."""
    x, shade, before = _centres(curve.mean), colour(outcome.run), outcome.before
    label = plain(f"{outcome.label}, step {outcome.step}")
    (line,) = axes.plot(
        x,
        scale * curve.mean,
        color=shade,
        marker="" if crowd and before else marker(outcome.run),
        markersize=3 if crowd else 4,
        markerfacecolor="none" if before else shade,
        linestyle=(0, (4, 2)) if before else "-",
        linewidth=(0.6 if before else 1.0) if crowd else (1.1 if before else 1.8),
        alpha=(0.45 if crowd else 0.75) if before else 1,
        label="_first step" if crowd and before else label,
    )
    line.set_gid(f"run-{outcome.run}-line-{outcome.step}")
    if not crowd and np.isfinite(curve.low).any():
        alpha = 0.07 if before else 0.16
        band = axes.fill_between(
            x, scale * curve.low, scale * curve.high, color=shade, alpha=alpha, linewidth=0
        )
        band.set_gid(f"run-{outcome.run}-band-{outcome.step}")


def _finish_depth(axes: Any, label: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel(DEPTH)
    axes.set_ylabel(label)


def _centres(values: Floats) -> Floats:
    return (np.arange(len(values)) + 0.5) / len(values)


def _score_limits(outcomes: list[Outcome]) -> tuple[float, float]:
    """From 0, so that a small dip looks small, to the least multiple of 20 above every curve."""
    tops = [np.nanmax([*each.score.curve.mean, *each.score.curve.high]) for each in outcomes]
    return -2.0, min(102.0, 20 * math.ceil(100 * max(tops) / 20 + 1e-9) + 2.0)


def _note(outcomes: list[Outcome], *, banded: bool) -> str:
    items = np.concatenate([outcome.score.curve.items for outcome in outcomes])
    sets = sorted({outcome.score.sets for outcome in outcomes})
    low, high = int(items.min()), int(items.max())
    n = f"n per bin {low}" if low == high else f"n per bin {low}–{high}"
    of = "–".join(str(each) for each in dict.fromkeys((sets[0], sets[-1])))
    contexts = f"{of} context{'s' * (sets[-1] > 1)}"
    return f"{n}, {contexts}" + (", 95 % bands by context" * (banded and sets[-1] > 1))


def _alt(outcomes: list[Outcome]) -> str:
    shown = outcomes[:8]
    said = [
        f"{each.label} at step {each.step}: {_listed(100 * each.score.curve.mean)}"
        for each in shown
    ]
    more = f"; and {len(outcomes) - len(shown)} more lines" * (len(outcomes) > len(shown))
    return f"Score on {outcomes[0].task} by depth bin, start to end. " + "; ".join(said) + more


def _ends(lines: dict[int, tuple[Floats, Floats]], labels: list[str]) -> str:
    shown = list(lines.items())[:8]
    said = [f"{labels[index]} from {y[0]:.4g} to {y[-1]:.4g}" for index, (_, y) in shown]
    return "; ".join(said) + (f"; and {len(lines) - 8} more" if len(lines) > 8 else "")


def _listed(values: Floats) -> str:
    return ", ".join(f"{value:.0f}" if np.isfinite(value) else "empty" for value in values)


def _ticks(axes: Any) -> None:
    """A few ticks: 20k, 1.2M on the x axis, 0.0002 and never an offset on the y axis."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
