"""Lines by depth: score and diagnostic of a task at a length, one line a group and step."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.report.curves import Outcome
from fullcontext.report.drawing import Drawing, Panel, colour, draw, marker
from fullcontext.report.findings import Findings
from fullcontext.report.statistics import Curve, Floats

CROWD = 6
"""Groups above which bands are drawn in one panel a group, not over one another."""
DRAWN = 24
"""Most groups in a figure."""
DEPTH = "relative depth (0 start, 1 end of the context)"


def drawn(findings: Findings) -> list[int]:
    """The groups that figures show: all, or of many the baseline and both ends by average score."""
    every = [each.index for each in findings.groups]
    if len(every) <= DRAWN:
        return every
    averages = {
        each.index: [one.score.contrasts["avg"].value for one in findings.last(each).values()]
        for each in findings.groups
    }
    ranked = sorted(
        (at for at in every if at != findings.baseline.index),
        key=lambda at: -float(np.mean(averages[at])) if averages[at] else math.inf,
    )
    half = DRAWN // 2
    return sorted([findings.baseline.index, *ranked[:half], *ranked[half - DRAWN + 1 :]])


def score_by_depth(outcomes: list[Outcome], folder: Path | None) -> Drawing:
    """Score in points by depth; dashed the first probed step, solid the last."""
    subject = outcomes[0].subject
    crowd = _groups(outcomes) > CROWD
    panel = Panel(
        key=f"depth_{slug(subject.title)}",
        title=f"{plain(subject.title)}: score",
        note=note(outcomes, banded=not crowd),
        alt=_alt(outcomes),
    )

    def paint(axes: Any) -> None:
        for outcome in outcomes:
            _line(axes, outcome, outcome.score.curve, 100, crowd=crowd)
        _finish_depth(axes, "score, points of 100")
        axes.set_ylim(*score_limits(outcomes))

    return draw(panel, folder, paint)


def logp_by_depth(outcomes: list[Outcome], folder: Path | None) -> Drawing | None:
    """Mean log-probability of the gold answer by depth, a diagnostic; None without."""
    known = [outcome for outcome in outcomes if outcome.logp is not None]
    if not known:
        return None
    subject = known[0].subject
    crowd = _groups(known) > CROWD
    panel = Panel(
        key=f"diagnostic_{slug(subject.title)}",
        title=f"{plain(subject.title)}: diagnostic, not accuracy",
        note="mean gold log-probability per token, answer given" + (", 95 % bands" * (not crowd)),
        alt=f"Diagnostic for {subject.title}: mean log-probability of the gold answer by depth bin."
        " The values are in the table below the figures.",
    )

    def paint(axes: Any) -> None:
        for outcome in known:
            if outcome.logp is not None:
                _line(axes, outcome, outcome.logp.curve, 1, crowd=crowd)
        _finish_depth(axes, "log-probability, nats")

    return draw(panel, folder, paint)


def slug(text: str) -> str:
    """A name fit for files and ids."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "x"


def plain(text: str) -> str:
    """Text without a meaning for matplotlib, which reads dollars as formulas and a leading
    underscore as "not in the legend"."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def score_limits(outcomes: list[Outcome]) -> tuple[float, float]:
    """From 0, so that a small dip looks small, to the least multiple of 20 above every curve."""
    tops = [np.nanmax([*each.score.curve.mean, *each.score.curve.high]) for each in outcomes]
    return -2.0, min(102.0, 20 * math.ceil(100 * max(tops) / 20 + 1e-9) + 2.0)


def note(outcomes: list[Outcome], *, banded: bool) -> str:
    """How much stands behind a figure: n per bin, contexts, which bands."""
    items = np.concatenate([outcome.score.curve.items for outcome in outcomes])
    sets = sorted({outcome.score.sets for outcome in outcomes})
    low, high = int(items.min()), int(items.max())
    n = f"n per bin {low}" if low == high else f"n per bin {low}–{high}"
    of = "–".join(str(each) for each in dict.fromkeys((sets[0], sets[-1])))
    contexts = f"{of} context{'s' * (sets[-1] > 1)}"
    return f"{n}, {contexts}" + (", 95 % bands by context" * (banded and sets[-1] > 1))


def listed(values: Floats) -> str:
    """Scores for those who do not see the figure."""
    return ", ".join(f"{value:.0f}" if np.isfinite(value) else "empty" for value in values)


def _groups(outcomes: list[Outcome]) -> int:
    return len({outcome.index for outcome in outcomes})


def _line(axes: Any, outcome: Outcome, curve: Curve, scale: float, *, crowd: bool) -> None:
    """A curve and its band; in a crowd thinner, without band, the first step without markers."""
    x, shade, before = centres(curve.mean), colour(outcome.index), outcome.before
    label = plain(f"{outcome.label}, step {outcome.step}")
    (line,) = axes.plot(
        x,
        scale * curve.mean,
        color=shade,
        marker="" if crowd and before else marker(outcome.index),
        markersize=3 if crowd else 4,
        markerfacecolor="none" if before else shade,
        linestyle=(0, (4, 2)) if before else "-",
        linewidth=(0.6 if before else 1.0) if crowd else (1.1 if before else 1.8),
        alpha=(0.45 if crowd else 0.75) if before else 1,
        label="_first step" if crowd and before else label,
    )
    line.set_gid(f"run-{outcome.index}-line-{outcome.step}")
    if not crowd and np.isfinite(curve.low).any():
        alpha = 0.07 if before else 0.16
        band = axes.fill_between(
            x, scale * curve.low, scale * curve.high, color=shade, alpha=alpha, linewidth=0
        )
        band.set_gid(f"run-{outcome.index}-band-{outcome.step}")


def _finish_depth(axes: Any, label: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel(DEPTH)
    axes.set_ylabel(label)


def centres(values: Floats) -> Floats:
    """The middles of the depth bins."""
    return (np.arange(len(values)) + 0.5) / len(values)


def _alt(outcomes: list[Outcome]) -> str:
    shown = outcomes[:8]
    said = [
        f"{each.label} at step {each.step}: {listed(100 * each.score.curve.mean)}" for each in shown
    ]
    more = f"; and {len(outcomes) - len(shown)} more lines" * (len(outcomes) > len(shown))
    title = outcomes[0].subject.title
    return f"Score on {title} by depth bin, start to end. " + "; ".join(said) + more
