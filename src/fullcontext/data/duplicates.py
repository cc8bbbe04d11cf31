"""Questions asked before: word for word, or nearly (MinHash of word 3-grams)."""

import zlib
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fullcontext.config import Duplicates, FiltersConfig
from fullcontext.data import words
from fullcontext.data.marks import Marks

PERMUTATIONS = 64
"""Of a signature: the estimated similarity has a standard error of at most 0.06."""
FOUND = 0.95
"""Least chance that a pair right at `near_similarity` is compared at all."""
_SHINGLE = 3

Signature = npt.NDArray[np.uint32]


class Seen:
    """The questions of one store, in the order in which they are asked.

    An exact duplicate is known by 8 bytes. For near ones the signatures of datasketch's MinHash lie
    in one growing array, and hash tables of one slot a band point into it (datasketch's own
    MinHashLSH takes 2 KB a question and finds a third of the pairs at 0.8). The paper's 1.75 M
    questions take 20 MB for `exact`, 0.9 GB for `near`.
    """

    def __init__(self, config: FiltersConfig) -> None:
        self._kind = config.duplicates
        self._exact = Marks()
        self._near = _Signatures(config.near_similarity)

    def known(self, question: str, answer: str) -> str | None:
        """None if it is new, and remembered from now on; otherwise why it is not.

        The same words in the same order are an "exact duplicate", whatever their case and
        punctuation.
        """
        if self._kind == Duplicates.off:
            return None
        asked, answered = words.split(question), words.split(answer)
        if not self._exact.add(f"{' '.join(asked)}\n{' '.join(answered)}"):
            return "exact duplicate"
        near = self._kind == Duplicates.near and self._near.known(asked + answered)
        return "near duplicate" if near else None


class _Signatures:
    """MinHash signatures and, for each band of their rows, where the newest with equal rows is."""

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self.rows = rows_of(similarity)
        self.bands = PERMUTATIONS // self.rows
        self._count = 0
        self._signatures = np.zeros((1024, PERMUTATIONS), np.uint32)
        self._newest = self._table()

    def known(self, found: list[str]) -> bool:
        """Whether a text of these words is like an earlier one; if not, it is remembered."""
        signature = self._signature(found)
        slots = self._slots(signature[None])[0]
        bands = np.arange(self.bands)
        places = np.unique(self._newest[bands, slots])
        others = self._signatures[places[places > 0] - 1]
        if len(others) and (others == signature).mean(axis=1).max() >= self._similarity:
            return True
        if self._count == len(self._signatures):
            self._grow()
            slots = self._slots(signature[None])[0]
        self._signatures[self._count] = signature
        self._count += 1
        self._newest[bands, slots] = self._count
        return False

    @cached_property
    def _empty(self) -> Any:
        from datasketch import MinHash

        return MinHash(PERMUTATIONS, seed=1, hashfunc=zlib.crc32)

    def _signature(self, found: list[str]) -> Signature:
        starts = range(max(1, len(found) - _SHINGLE + 1))
        minhash = self._empty.copy()
        minhash.update_batch([" ".join(found[i : i + _SHINGLE]).encode() for i in starts])
        return np.asarray(minhash.hashvalues, np.uint32)

    def _slots(self, signatures: Signature) -> npt.NDArray[np.uint64]:
        """Shape (signatures, bands): the slot of each band in its table."""
        used = signatures[:, : self.bands * self.rows].astype(np.uint64)
        rows = used.reshape(len(signatures) * self.bands, self.rows)
        hashes = np.zeros(len(rows), np.uint64)
        for column in rows.T:
            hashes = words.mixed(hashes + column + np.uint64(1))
        return hashes.reshape(len(signatures), self.bands) % np.uint64(self._newest.shape[1])

    def _table(self) -> npt.NDArray[np.uint32]:
        """Four slots a question: few are taken over by a newer one."""
        return np.zeros((self.bands, 4 * len(self._signatures)), np.uint32)

    def _grow(self) -> None:
        self._signatures = np.concatenate([self._signatures, np.zeros_like(self._signatures)])
        self._newest = self._table()
        for start in range(0, self._count, 1 << 14):
            stop = min(self._count, start + (1 << 14))
            slots = self._slots(self._signatures[start:stop])
            for band in range(self.bands):
                self._newest[band, slots[:, band]] = np.arange(start, stop) + 1


def rows_of(similarity: float) -> int:
    """Most rows a band with which a pair of this similarity shares a band with chance FOUND."""
    for rows in range(16, 1, -1):
        if 1 - (1 - similarity**rows) ** (PERMUTATIONS // rows) >= FOUND:
            return rows
    return 1
