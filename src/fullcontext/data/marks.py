"""Which of many things were there before, in 8 bytes each."""

import hashlib

import numpy as np

_RECENT = 1 << 16
"""Marks kept in a set before they are sorted into the array."""


class Marks:
    """A set of names that only grows, known by 64-bit hashes.

    Two of ten million names have one hash with a chance of 3 in a million.
    """

    def __init__(self) -> None:
        self._sorted = np.zeros(0, np.uint64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, name: str) -> bool:
        """Remembers a name; whether it is new."""
        mark = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        if mark in self._recent:
            return False
        place = int(self._sorted.searchsorted(np.uint64(mark)))
        if place < len(self._sorted) and int(self._sorted[place]) == mark:
            return False
        self._recent.add(mark)
        if len(self._recent) >= _RECENT:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, recent]))
            self._recent = set()
        return True
