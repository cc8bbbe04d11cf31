"""Heat maps as tables: every cell is a number and a colour of one fixed scale, 0-100 points.

They are drawn in text, not in pixels, so that they can be read aloud, copied and zoomed.
"""

from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
import numpy as np

from fullcontext.report.curves import Outcome
from fullcontext.report.findings import Findings
from fullcontext.report.places import place_map
from fullcontext.report.statistics import Counts, Floats
from fullcontext.report.wording import interval, signed, tokens

WIDE = 7
"""Columns from which on a name is one number: ten ranges are wider than a page."""
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
    columns = [
        f"{at / findings.bins:.2g}" if findings.bins > WIDE else _bin(at, findings.bins)
        for at in range(findings.bins)
    ]
    maps = []
    for group in (findings.groups[at] for at in shown):
        last = findings.last(group)
        curves = [(each, last[each].score.curve) for each in subjects if each in last]
        if curves:
            rows = [(tokens(one.length), cells(curve.mean, curve.items)) for one, curve in curves]
            caption = "rows: context length in tokens; columns: depth"
            caption += ", where each bin begins" if findings.bins > WIDE else ""
            maps.append(HeatMap(group.index, group.label, caption, columns, rows))
    return maps


def place_by_distance(outcomes: list[Outcome], shown: list[int]) -> list[HeatMap]:
    """Questions about two items: where their middle lies, and how far apart they are."""
    return [
        _spread(each)
        for each in outcomes
        if each.index in shown and not each.before and np.isfinite(each.items.distance).all()
    ]


def _spread(outcome: Outcome) -> HeatMap:
    items = outcome.items
    found = place_map(items.score, items.depth, items.distance, items.set_id, (PLACES, DISTANCES))
    rows = [
        (_bin(at, PLACES), cells(mean, n))
        for at, (mean, n) in enumerate(zip(found.mean, found.items, strict=True))
    ]
    caption = (
        "rows: the place half-way between the two items; columns: their distance. From start to end"
        f" {signed(found.place)} {interval(found.place)}, from neighbours to a whole context apart"
        f" {signed(found.distance)} {interval(found.distance)}"
    )
    columns = [_bin(at, DISTANCES) for at in range(DISTANCES)]
    return HeatMap(outcome.index, outcome.label, caption, columns, rows)


def _bin(at: int, bins: int) -> str:
    return f"{at / bins:.2g}–{(at + 1) / bins:.2g}"
