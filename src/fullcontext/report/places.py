"""The place x distance map of two items that are needed together (task `spread`)."""

from dataclasses import dataclass

import numpy as np

from fullcontext.report import intervals
from fullcontext.report.intervals import Interval
from fullcontext.report.moments import Counts, Floats, bin_index, check, ratio


@dataclass(frozen=True, slots=True)
class PlaceMap:
    """Rows are bins of the place half-way between the items, columns of their distance."""

    mean: Floats
    """Shape (place bins, distance bins); nan where no question was asked. Two corners always are
    empty: far items cannot have their middle near an end."""
    items: Counts
    place: Interval
    """Change of score from the start of the context to its end, at equal distance."""
    distance: Interval
    """Change of score from neighbours to items a whole context apart, at equal place."""
    sets: int


def place_map(
    score: Floats, place: Floats, distance: Floats, set_id: Counts, bins: tuple[int, int]
) -> PlaceMap:
    """Means by place and distance bins, and the slope of each at equal bins of the other.

    Arrays have the shape (items,), places and distances are in 0-1. A slope is that of a line whose
    level differs between the bins of the other quantity, so that any curve over it is allowed; the
    interval is Student's over sets (report/intervals.py). Without two questions of different place
    in one distance bin, or the reverse, the slope is nan. Raises ValueError for a place or a
    distance outside 0-1, nan included.
    """
    check(score, place, set_id)
    check(score, distance, set_id)
    for name, values in (("place", place), ("distance", distance)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"a {name} is outside 0-1; only questions over two items have both")
    row, column = bin_index(place, bins[0]), bin_index(distance, bins[1])
    cell = row * bins[1] + column
    items = np.bincount(cell, minlength=bins[0] * bins[1])
    total = np.asarray(np.bincount(cell, score, minlength=len(items)), dtype=np.float64)
    return PlaceMap(
        mean=ratio(total, items.astype(np.float64)).reshape(bins),
        items=items.reshape(bins),
        place=_slope(score, place, column, set_id),
        distance=_slope(score, distance, row, set_id),
        sets=len(np.unique(set_id)),
    )


def _slope(score: Floats, along: Floats, group: Counts, set_id: Counts) -> Interval:
    """Slope of score on `along` within groups."""
    along = along - along.mean()
    names, row = np.unique(set_id, return_inverse=True)
    shape = (len(names), int(group.max()) + 1)
    cell = row * shape[1] + group
    one = np.ones(len(score))
    sums = np.stack(
        [
            np.bincount(cell, each, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
            for each in (one, along, score, along * along, along * score)
        ]
    )
    total = sums.sum(axis=1)
    value, _ = _line(total)
    without, _ = _line(total[:, None] - sums)  # each set left out in turn
    ends = intervals.symmetric(value, intervals.variance(without), _freedom(sums))
    return Interval(float(value), float(ends.low), float(ends.high))


def _line(sums: Floats) -> tuple[Floats, Floats]:
    """Slope and the sum of squares it rests on, of sums (5, ..., groups)."""
    items, x, y, xx, xy = sums
    level = ratio(x, items)
    level = np.where(np.isnan(level), 0.0, level)
    square = np.maximum((xx - level * x).sum(axis=-1), 0.0)
    return ratio((xy - level * y).sum(axis=-1), square), square


def _freedom(sums: Floats) -> Floats:
    """Degrees of freedom of the slope's variance (intervals.freedom); sums (5, sets, groups)."""
    items, x, _, xx, _ = sums
    whole = items.sum(axis=0)
    level = ratio(x.sum(axis=0), whole)
    level = np.where(np.isnan(level), 0.0, level)
    _, square = _line(sums.sum(axis=1))
    # Each score counts its distance from the level of its group; less what levels and line take.
    own = (xx - 2 * level * x + level**2 * items).sum(axis=1)
    away = (x - level * items) / np.sqrt(np.maximum(whole, 1))
    line = own / np.sqrt(max(float(square), 1e-30))
    return intervals.satterthwaite(own, np.concatenate([away, line[:, None]], axis=1))
