"""Which quotations occur once in a corpus, in memory that does not grow with it."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

SLOTS = 1 << 29
"""Counters of two bits. A quotation that occurs once is taken for a repeated one where both its
counters are shared: of 40 million quotations (4 GB of text) 2 %, of 400 million 60 %."""
_BATCH = 1 << 16
_ONCE, _MORE = 1, 3

Slots = npt.NDArray[np.uint32]


class Quoted:
    """A count-min sketch: two counters a quotation, each of which says never, once or more.

    A quotation that occurs twice is never said to occur once.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._counters = np.zeros(slots // 4, np.uint8)
        self._waiting: list[bytes] = []

    def add(self, quotes: Iterable[str]) -> None:
        """Counts every quotation once more."""
        self._waiting += map(_mark, quotes)
        if len(self._waiting) >= _BATCH:
            self._count()

    def once(self, quote: str) -> bool:
        """Whether it was added at most once."""
        self._count()
        return bool((self._states(self._slots_of([_mark(quote)])) != _MORE).any())

    def _count(self) -> None:
        if not self._waiting:
            return
        slots, times = np.unique(self._slots_of(self._waiting), return_counts=True)
        first = (self._states(slots) == 0) & (times == 1)
        states = np.where(first, _ONCE, _MORE).astype(np.uint8)
        # A state only ever gains bits, so those that share a byte are set one after another.
        np.bitwise_or.at(self._counters, slots >> 2, states << _shifts(slots))
        self._waiting = []

    def _states(self, slots: Slots) -> npt.NDArray[np.uint8]:
        states: npt.NDArray[np.uint8] = self._counters[slots >> 2] >> _shifts(slots)
        return states & np.uint8(_MORE)

    def _slots_of(self, marks: list[bytes]) -> Slots:
        """Shape (2 * marks,): two independent slots each."""
        return np.frombuffer(b"".join(marks), "<u4") % np.uint32(self._slots)


def _shifts(slots: Slots) -> npt.NDArray[np.uint8]:
    return ((slots & np.uint32(3)) * np.uint32(2)).astype(np.uint8)


def _mark(quote: str) -> bytes:
    return hashlib.blake2b(quote.encode(), digest_size=8).digest()
