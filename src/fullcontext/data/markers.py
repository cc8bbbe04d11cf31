"""Numbered segments, and answers that cite the numbers of their evidence."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fullcontext.data.tokens import Prompt
from fullcontext.records import Ids

MOST = 4096
"""Segments of a context that can be numbered; none has as many."""


class Markers:
    """A line `[n]` before the n-th segment of a context, n from 1; nothing unless `used`."""

    def __init__(self, prompt: Prompt, used: bool) -> None:
        self.prompt, self.used = prompt, used
        self._lines: list[Ids] = []
        self._sums: npt.NDArray[np.int64] = np.zeros(MOST + 1, np.int64)
        if used:
            encode = prompt.encoder.encode
            self._lines = [encode(f"[{n + 1}]\n") for n in range(MOST)]
            self._sums = np.cumsum([0, *map(len, self._lines)])
        self.cited = lru_cache(maxsize=None)(self._cited)

    def tokens(self, segments: int) -> int:
        """Tokens of the markers of so many segments."""
        return int(self._sums[segments])

    def room(self, room: int, own: int, fillers: int) -> npt.NDArray[Any]:
        """`room[n]`: tokens that n fillers may have beside so many own segments."""
        if not self.used:
            return np.broadcast_to(np.int64(room), (fillers + 2,))
        return room - self._sums[own:]

    def between(self, pieces: Sequence[Ids]) -> list[Ids]:
        """Pieces with their markers, in context order."""
        if not self.used:
            return list(pieces)
        return [ids for pair in zip(self._lines, pieces, strict=False) for ids in pair]

    def cite(self, places: Sequence[int]) -> str:
        """`[3][17]` for the segments at indices 2 and 16."""
        return "".join(f"[{place + 1}]" for place in places)

    def _cited(self, evidence: int) -> int:
        """The most tokens that citing so many segments adds to an answer."""
        if not self.used or not evidence:
            return 0
        plain = self.prompt.ask("", "a").answer
        cited = self.prompt.ask("", self.cite([MOST - 2] * evidence) + " a").answer
        return len(cited) - len(plain)
