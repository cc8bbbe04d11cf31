"""Where the evidence stands among the filler: the rank of each of its pieces in the context."""

from collections.abc import Sequence

import numpy as np

from fullcontext.config import DataConfig, EvidenceOrder, Placement


def aim(config: DataConfig, turn: int, generator: np.random.Generator) -> float:
    """The depth (0-1) at which evidence is put, for every placement but `shuffle`.

    `turn` counts the questions of one kind: `stratified` gives each depth bin its turn.
    """
    match config.placement:
        case Placement.head:
            return 0.0
        case Placement.tail:
            return 1.0
        case Placement.middle:
            return 0.5
        case Placement.ends:
            return float(generator.integers(2))
        case _:
            bin = turn % config.depth_bins
            return (bin + float(generator.random())) / config.depth_bins


def ranks(
    config: DataConfig,
    pieces: Sequence[int],
    fillers: int,
    turns: Sequence[int],
    generator: np.random.Generator,
) -> list[list[int]]:
    """Ranks (0 is the first in the context) of every question's own pieces, in document order.

    `pieces` counts the own pieces of each question, `turns` belongs to `aim`. `shuffle` makes every
    order of all pieces equally likely; the others put the pieces of a question side by side at a
    depth. Their order is shuffled, or kept.
    """
    total = sum(pieces) + fillers
    if config.placement is Placement.shuffle:
        drawn = generator.permutation(total)[: sum(pieces)].tolist()
    else:
        depths = [aim(config, turn, generator) for turn in turns]
        drawn = _placed(pieces, depths, total, generator)
    found, start = [], 0
    for count in pieces:
        own = drawn[start : start + count]
        found.append(sorted(own) if config.evidence_order is EvidenceOrder.kept else own)
        start += count
    return found


def _placed(
    pieces: Sequence[int], depths: Sequence[float], total: int, generator: np.random.Generator
) -> list[int]:
    """A rank for each piece: blocks of equal depth as near to it as they can be.

    A block of m pieces has total - m + 1 places; where blocks overlap, the later one moves on.
    """
    owner = np.repeat(np.arange(len(pieces)), pieces)
    block_of = np.asarray(depths)[owner]
    blocks = sorted(set(depths))
    sizes = [int((block_of == depth).sum()) for depth in blocks]
    starts, free = [], 0
    for depth, size in zip(blocks, sizes, strict=True):
        places = total - size + 1
        free = max(free, min(places - 1, int(depth * places)))
        starts.append(free)
        free += size
    stop = total
    for i in reversed(range(len(blocks))):
        starts[i] = stop = min(starts[i], stop - sizes[i])
    found = np.empty(len(owner), int)
    for depth, start, size in zip(blocks, starts, sizes, strict=True):
        found[block_of == depth] = start + generator.permutation(size)
    return [int(rank) for rank in found]
