"""Work for ranks that wait for each other: bins of limited size, of similar cost side by side.

Sharded ranks meet in every micro-batch, so a step takes the sum over rounds of the round's dearest
bin. Bins are filled longest processing time first, then items are exchanged one by one as long as
that evens out the rounds. Costs are integers and ties go by place, so that every machine finds the
same plan.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
OVERFULL = 100.0
"""A bin's excess, as a share of its size, against unevenness in squared mean costs."""
WORTH = 0.01
"""Share of the time that one more round has to save: a round costs an exchange of weights."""
TRIED = 16
"""Bins that are tried before an exchange is given up; all of them would gain 0.002 at ten times the
time."""
LEAST_GAIN = 1e-5
"""In squared mean costs."""
NOTHING = -1


@dataclass(slots=True)
class Bins:
    """Which bin each item is in, and what the bins hold."""

    owner: Numbers
    """Shape (items,)."""
    load: Numbers
    """Cost of each bin, shape (bins,)."""
    size: Numbers
    """Shape (bins,)."""

    def rounds(self, ranks: int) -> Numbers:
        """Shape (rounds, ranks): the bins that run at the same time, dearest round first."""
        return np.argsort(-self.load, kind="stable").reshape(-1, ranks)

    def time(self, ranks: int) -> int:
        """Sum over rounds of the dearest bin."""
        return int(self.load[self.rounds(ranks)[:, 0]].sum())


def spread(costs: list[int], sizes: list[int], most: int, ranks: int) -> list[list[list[int]]]:
    """Rounds of `ranks` bins, each a list of items (empty only if there are fewer items than bins).

    `sizes` sum to at most `most` in every bin; no size may be above it. As few rounds as hold the
    sizes, or one more if that is worth it. Dear rounds come first, so that what does not fit into
    memory fails at once.
    """
    order = sorted(range(len(costs)), key=lambda i: (-costs[i], -sizes[i], i))
    dear, large = (np.array([values[i] for i in order], np.int64) for values in (costs, sizes))
    rounds = -(-sum(sizes) // (most * ranks))
    found: list[tuple[float, int, Bins]] = []
    while not found:
        found += _fillings(dear, large, most, ranks, rounds)
        rounds += 1
    if ranks > 1:
        found += _fillings(dear, large, most, ranks, rounds)
    fewest = min(count for _, count, _ in found)
    best = min(found, key=lambda entry: entry[0] * (1 + WORTH * (entry[1] - fewest)))[2]
    members: list[list[int]] = [[] for _ in best.load]
    for place, owner in enumerate(best.owner):
        members[owner].append(order[place])
    return [[sorted(members[b]) for b in row] for row in _even_out(best, ranks)]


def _fillings(
    costs: Numbers, sizes: Numbers, most: int, ranks: int, rounds: int
) -> Iterator[tuple[float, int, Bins]]:
    """(time, rounds, bins) of the ways to fill so many rounds that keep to the size."""
    for by_room in (False, True):
        bins = _fill(costs, sizes, most, ranks * rounds, by_room)
        if ranks > 1:
            _exchange(bins, costs, sizes, most, ranks)
        if bins.size.max() <= most:
            yield float(bins.time(ranks)), rounds, bins
        if ranks == 1:
            return


def _fill(costs: Numbers, sizes: Numbers, most: int, bins: int, by_room: bool) -> Bins:
    """Dearest first, into the cheapest bin with room, or (`by_room`) into the fullest with room.

    What finds no room goes into the emptiest bin all the same.
    """
    made = Bins(np.zeros(len(costs), np.int64), np.zeros(bins, np.int64), np.zeros(bins, np.int64))
    for item, (cost, size) in enumerate(zip(costs, sizes, strict=True)):
        room = made.size + size <= most
        if by_room and item >= bins:
            key = np.where(room, -made.size, most + made.size)
        else:
            key = np.where(room, made.load, np.iinfo(np.int64).max // 2 + made.size)
        chosen = int(key.argmin())
        made.owner[item] = chosen
        made.load[chosen] += cost
        made.size[chosen] += size
    return made


def _exchange(bins: Bins, costs: Numbers, sizes: Numbers, most: int, ranks: int) -> None:
    """Swaps or moves items, from the least even bin on, until nothing evens out the rounds."""
    costs, sizes = np.append(costs, 0), np.append(sizes, 0)
    for _ in range(20 * len(costs)):
        rounds = bins.rounds(ranks)
        of = np.empty(len(bins.load), np.int64)
        of[rounds] = np.arange(len(rounds))[:, None]
        off = np.abs(bins.load * ranks - bins.load[rounds].sum(1)[of])
        worst = np.lexsort((-off, -np.maximum(bins.size - most, 0)))
        if not any(_improve(bins, int(a), of, (costs, sizes), most, ranks) for a in worst[:TRIED]):
            return


def _improve(
    bins: Bins, a: int, of: Numbers, values: tuple[Numbers, Numbers], most: int, ranks: int
) -> bool:
    """Makes the best exchange between bin `a` and another one, if any is an improvement."""
    costs, sizes = values
    inside = bins.owner == a
    mine = np.append(np.flatnonzero(inside), NOTHING)
    theirs = np.flatnonzero(~inside)
    others = np.delete(np.arange(len(bins.load)), a)
    b = np.concatenate([bins.owner[theirs], others])
    theirs = np.concatenate([theirs, np.full(len(others), NOTHING)])
    unit = bins.load.sum() / len(bins.load)
    moved = (costs[mine][:, None] - costs[theirs]) / unit
    load = bins.load / unit
    total = np.bincount(of, load)
    gain = 2 * moved * (load[a] - load[b] - moved)
    apart = 2 * moved * (total[of[b]] - total[of[a]] + moved) / ranks
    gain += np.where(of[b] == of[a], 0.0, apart)
    grown = sizes[mine][:, None] - sizes[theirs]
    after = np.maximum(bins.size[a] - grown - most, 0) + np.maximum(bins.size[b] + grown - most, 0)
    before = np.maximum(bins.size[a] - most, 0) + np.maximum(bins.size[b] - most, 0)
    gain += OVERFULL / most * (before - after)
    gain[:, (theirs == NOTHING) & (len(mine) <= 2)] = 0  # a bin's only item stays
    gain[-1, np.bincount(bins.owner, minlength=len(bins.load))[b] <= 1] = 0
    row, column = divmod(int(gain.argmax()), len(theirs))
    if gain[row, column] < LEAST_GAIN:
        return False
    give, take, to = int(mine[row]), int(theirs[column]), int(b[column])
    for item, bin_ in ((give, to), (take, a)):
        if item != NOTHING:
            bins.owner[item] = bin_
    for held, of_items in ((bins.load, costs), (bins.size, sizes)):
        held[a] -= of_items[give] - of_items[take]
        held[to] += of_items[give] - of_items[take]
    return True


def _even_out(bins: Bins, ranks: int) -> Iterator[list[int]]:
    """Each round's bins by rank, so that the ranks' sums are alike, too."""
    sums = [0] * ranks
    for together in bins.rounds(ranks):
        row = [0] * ranks
        idle_first = sorted(range(ranks), key=lambda rank: (sums[rank], rank))
        for rank, chosen in zip(idle_first, together, strict=True):
            row[rank] = int(chosen)
            sums[rank] += int(bins.load[chosen])
        yield row
