"""One-factor plots: a setting on x, average and litm on y, everything else as in the baseline."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.report.curves import Outcome, Subject
from fullcontext.report.drawing import MUTED, Drawing, Panel, colour, draw, marker
from fullcontext.report.figures import DRAWN, plain, slug
from fullcontext.report.findings import Findings
from fullcontext.report.groups import Group, number_in
from fullcontext.report.wording import interval, points, shorten

SIZE = (3.0, 2.2)
MOST = 6
"""Settings that are plotted."""
LOGARITHMIC = 10
"""A numeric setting is drawn on a logarithmic axis from this ratio of its largest to its least."""
STATISTICS = {"avg": "average", "litm": "litm"}


@dataclass(frozen=True, slots=True)
class Factor:
    """A setting and the groups that differ from the baseline in nothing else."""

    key: str
    groups: list[Group]
    """In the order of their values."""
    others: dict[str, str]
    """The differing settings that stay as they are in the baseline."""

    @property
    def numbers(self) -> list[float] | None:
        """The values, if all are numbers."""
        found = [number_in(each.settings[self.key]) for each in self.groups]
        known = [each for each in found if each is not None]
        return known if len(known) == len(found) else None


def find(findings: Findings) -> list[Factor]:
    """The settings with two values or more around the baseline, the first MOST of them."""
    base = findings.baseline.settings
    found = []
    for key in findings.keys:
        others = {each: value for each, value in base.items() if each != key}
        groups = [
            each
            for each in findings.groups
            if all(each.settings[other] == value for other, value in others.items())
        ]
        if len({each.settings[key] for each in groups}) > 1:
            ordered = sorted(groups, key=lambda each: _place(each.settings[key]))
            found.append(Factor(key, ordered, others))
    return found[:MOST]


def _place(value: str) -> tuple[bool, float, str]:
    number = number_in(value)
    return (number is None, number or 0.0, value)


def figures(
    findings: Findings, factor: Factor, subject: Subject, folder: Path | None
) -> list[Drawing]:
    """Average and litm of a subject; none where fewer than two groups have answers."""
    line = [last[subject] for each in factor.groups if subject in (last := findings.last(each))]
    if len(line) < 2:
        return []
    return [_figure(factor, subject, line, key, folder) for key in STATISTICS]


def _figure(
    factor: Factor, subject: Subject, line: list[Outcome], key: str, folder: Path | None
) -> Drawing:
    said = "; ".join(
        f"{each.group.settings[factor.key]}: {points(each.score.contrasts[key].value)}"
        f" {interval(each.score.contrasts[key])}"
        for each in line[:12]
    )
    seeds = max(len(each.seeds) for each in line)
    panel = Panel(
        key=f"sweep_{slug(factor.key)}_{slug(subject.title)}_{key}",
        title=plain(f"{subject.title}: {STATISTICS[key]}"),
        note="95 % intervals by context" + ("; dots: seeds" if seeds > 1 else ""),
        alt=f"{STATISTICS[key]} on {subject.title} by {factor.key}. {said}",
        size=SIZE,
    )

    def paint(axes: Any) -> None:
        numbers = _axis(axes, factor, line)
        values = [100 * each.score.contrasts[key].value for each in line]
        axes.plot(numbers, values, color=MUTED, linewidth=1, zorder=1)
        if len(line) > DRAWN:
            _points(axes, numbers, line, key)
        for x, each in zip(numbers, line, strict=True) if len(line) <= DRAWN else ():
            _point(axes, x, each, key)
        _limits(axes, line, key)
        axes.set_xlabel(plain(shorten(factor.key, 44)))
        axes.set_ylabel("points of 100")

    return draw(panel, folder, paint)


def _axis(axes: Any, factor: Factor, line: list[Outcome]) -> list[float]:
    """Sets the x axis up and returns the place of each outcome."""
    texts = [each.group.settings[factor.key] for each in line]
    values = factor.numbers and [number_in(text) or 0.0 for text in texts]
    if not values:
        values = [float(list(dict.fromkeys(texts)).index(text)) for text in texts]
        names = list(dict.fromkeys(texts))
        short = [plain(shorten(name, max(6, 44 // len(names)))) for name in names]
        axes.set_xticks(range(len(names)), short)
        axes.set_xlim(-0.4, len(names) - 0.6)
        return values
    if min(values) > 0 and max(values) >= LOGARITHMIC * min(values):
        axes.set_xscale("log")
    if len(set(values)) <= 7:
        axes.set_xticks(sorted(set(values)), [f"{each:g}" for each in sorted(set(values))])
        axes.minorticks_off()
    axes.margins(x=0.08)
    return values


def _point(axes: Any, x: float, outcome: Outcome, key: str) -> None:
    shade, given = colour(outcome.index), outcome.score.contrasts[key]
    seeds = [100 * each[key] for each in outcome.seeds.values()]
    if len(seeds) > 1:
        dots = axes.scatter([x] * len(seeds), seeds, s=9, color=shade, alpha=0.4, linewidths=0)
        dots.set_gid(f"run-{outcome.index}-seeds")
    if np.isfinite(given.low):
        bar = axes.vlines(x, 100 * given.low, 100 * given.high, color=shade, linewidth=1.6)
        bar.set_gid(f"run-{outcome.index}-bar")
    (dot,) = axes.plot(
        [x], [100 * given.value], color=shade, marker=marker(outcome.index), markersize=6,
        linestyle="", label=plain(outcome.label), zorder=3,
    )  # fmt: skip
    dot.set_gid(f"run-{outcome.index}-dot")


def _points(axes: Any, numbers: list[float], line: list[Outcome], key: str) -> None:
    """Of very many groups: all at once, which the legend can then not tell apart."""
    given = 100 * np.array([each.score.contrasts[key] for each in line])
    axes.vlines(numbers, given[:, 1], given[:, 2], color=MUTED, linewidth=0.6, alpha=0.6)
    axes.scatter(numbers, given[:, 0], s=9, color=colour(0), linewidths=0, zorder=3)


def _limits(axes: Any, line: list[Outcome], key: str) -> None:
    """An average from 0; litm with 0 in sight."""
    ends = [
        100 * value
        for each in line
        for value in (*each.score.contrasts[key], *(seed[key] for seed in each.seeds.values()))
        if np.isfinite(value)
    ]
    if key == "avg":
        axes.set_ylim(-2, min(102, 20 * np.ceil(max(ends) / 20 + 1e-9) + 2))
    else:
        low, high = min(-5.0, *ends), max(5.0, *ends)
        axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
