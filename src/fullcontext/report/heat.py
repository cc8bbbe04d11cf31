"""Heat maps as tables: every cell is a number and a colour of one fixed scale, 0-100 points.

They are drawn in text, not in pixels, so that they can be read aloud, copied and zoomed.
"""

from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
import numpy as np

from fullcontext.report.curves import Outcome
from fullcontext.report.findings import Findings
from fullcontext.report.statistics import Counts, Floats
from fullcontext.report.wording import tokens

PLACES, DISTANCES = 5, 4
"""Bins of the map of two items."""
SCALE = "viridis"
"""Even in lightness, and told apart under every colour vision deficiency."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean in points, or none where no question fell."""

    text: str
    ground: str
    ink: str
    n: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One group: rows with a name each, columns as in `columns`."""

    index: int
    label: str
    caption: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


@cache
def colours(score: int) -> tuple[str, str]:
    """Ground and ink of a score of 0-100 points; the same in light and dark."""
    red, green, blue, _ = mpl.colormaps[SCALE](score / 100)
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return mpl.colors.to_hex((red, green, blue)), "#ffffff" if luminance < 0.18 else "#14161a"


def cells(means: Floats, items: Counts) -> list[Cell]:
    """The cells of a row of scores in 0-1."""
    found = []
    for mean, n in zip(means.tolist(), items.tolist(), strict=True):
        if not np.isfinite(mean):
            found.append(Cell("", "", "", 0))
            continue
        ground, ink = colours(min(100, max(0, round(100 * mean))))
        found.append(Cell(f"{100 * mean:.0f}", ground, ink, int(n)))
    return found


def scale() -> list[tuple[int, str, str]]:
    """The legend: score, ground, ink."""
    return [(score, *colours(score)) for score in range(0, 101, 10)]


def depth_by_length(findings: Findings, task: str, shown: list[int]) -> list[HeatMap]:
    """The last probed step of a task that was probed at several lengths; empty for others."""
    subjects = [each for each in findings.subjects if each.task == task]
    if len(subjects) < 2:
        return []
    bins = findings.bins
    columns = [f"{at / bins:.2g}–{(at + 1) / bins:.2g}" for at in range(bins)]
    maps = []
    for group in (findings.groups[at] for at in shown):
        last = findings.last(group)
        curves = [(each, last[each].score.curve) for each in subjects if each in last]
        if curves:
            rows = [(tokens(one.length), cells(curve.mean, curve.items)) for one, curve in curves]
            caption = "rows: context length in tokens; columns: depth"
            maps.append(HeatMap(group.index, group.label, caption, columns, rows))
    return maps


def place_by_distance(outcomes: list[Outcome], shown: list[int]) -> list[HeatMap]:
    """Questions about two items: where their middle lies, and how far apart they are."""
    found = [
        each
        for each in outcomes
        if each.index in shown and not each.before and np.isfinite(each.items.distance).any()
    ]
    columns = [f"{at / PLACES:.2g}–{(at + 1) / PLACES:.2g}" for at in range(PLACES)]
    caption = "rows: distance of the two items; columns: the place half-way between them"
    return [HeatMap(each.index, each.label, caption, columns, _spread(each)) for each in found]


def _spread(outcome: Outcome) -> list[tuple[str, list[Cell]]]:
    items = outcome.items
    known = np.isfinite(items.distance)
    score, place, distance = items.score[known], items.depth[known], items.distance[known]
    row, column = _bins(distance, DISTANCES), _bins(place, PLACES)
    shape = (DISTANCES, PLACES)
    at = row * PLACES + column
    n = np.bincount(at, minlength=DISTANCES * PLACES)
    sums = np.bincount(at, score, minlength=DISTANCES * PLACES)
    means = np.divide(sums, n, out=np.full(len(n), np.nan), where=n > 0)
    return [
        (
            f"{one / DISTANCES:.2g}–{(one + 1) / DISTANCES:.2g}",
            cells(means.reshape(shape)[one], n.reshape(shape)[one]),
        )
        for one in range(DISTANCES)
    ]


def _bins(values: Floats, bins: int) -> Counts:
    return np.clip((values * bins + 1e-9).astype(np.int64), 0, bins - 1)
