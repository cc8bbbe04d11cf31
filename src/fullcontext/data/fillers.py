"""Filler segments that fill a context to the drawn length, by number."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, Filler
from fullcontext.data.table import Lengths, Numbers, SegmentTable, Store
from fullcontext.data.tokens import Prompt
from fullcontext.records import Ids

SHORT = 8
"""A context may miss its length by so many tokens before a filler is cut instead."""
_SWAPPED = 16
"""Fillers for which another of the right length is looked for, the last first."""
_LOOKED_AT = 32
"""Segments of a fitting length that are looked at before another length is tried."""


@dataclass(slots=True)
class Wanted:
    """What a context needs, and what may not be in it."""

    room: npt.NDArray[Any]
    """`room[n]` is what n fillers may have in tokens: less with each where it has a marker."""
    parents: Sequence[int]
    """Codes of the raw documents of its questions."""
    answers: Sequence[bytes]
    """No filler holds any of these."""
    source: int
    """Code of the source of its first question."""
    neighbours: Numbers
    """What `hard` takes first."""
    notes: Counter[str] = field(default_factory=Counter)


class Cut(NamedTuple):
    """The beginning of a segment."""

    tokens: Ids
    text: bytes


class Found(NamedTuple):
    """Fillers by number in random order, and at most one that is cut, to stand after them."""

    numbers: Numbers
    cut: Cut | None


@dataclass(slots=True)
class _Taken:
    """Fillers that are sure so far."""

    numbers: Numbers = field(default_factory=lambda: np.zeros(0, np.int32))
    tokens: int = 0


class Fillers:
    """Draws the filler of contexts from a store."""

    def __init__(self, config: DataConfig, prompt: Prompt, store: Store) -> None:
        self.config, self.prompt, self.store = config, prompt, store
        self.table: SegmentTable = store.fillers
        lengths = self.table.all.tokens
        self._mean = max(1, int(lengths.mean())) if len(lengths) else 1

    def draw(self, wanted: Wanted, generator: np.random.Generator) -> Found:
        """Segments that fill the room, exactly wherever the store has one that does.

        Raises ConfigError if the store has too little text.
        """
        numbers, cut = self._draw(wanted, generator)
        return Found(numbers[generator.permutation(len(numbers))], cut)

    def _draw(self, wanted: Wanted, generator: np.random.Generator) -> Found:
        taken, pool = _Taken(), self.table.all
        match self.config.filler:
            case Filler.hard:
                self._take(wanted.neighbours, taken, wanted)
            case Filler.same_source:
                own = self.table.of_source(wanted.source)
                if self._fill(own, taken, wanted, generator):
                    return self._fit(own, taken, wanted, generator)
                wanted.notes["source has no more filler: the rest is random"] += 1
        if not self._fill(pool, taken, wanted, generator):
            raise ConfigError(
                f"the store {self.store.folder} is too small for contexts of"
                f" {self.config.context_range[1]} tokens; use a larger corpus or shorter"
                " contexts (data.context_range)"
            )
        return self._fit(pool, taken, wanted, generator)

    def _fill(
        self, pool: Lengths, taken: _Taken, wanted: Wanted, generator: np.random.Generator
    ) -> bool:
        """Takes random segments until the next does not fit; False if the pool ends before."""
        for _ in range(8):
            need = 8 + (int(wanted.room[len(taken.numbers)]) - taken.tokens) // self._mean
            if 4 * need > len(pool.numbers):
                break
            drawn = generator.integers(len(pool.numbers), size=need + need // 4)
            if self._take(pool.numbers[drawn], taken, wanted):
                return True
        return self._take(generator.permutation(pool.numbers), taken, wanted)

    def _take(self, drawn: Numbers, taken: _Taken, wanted: Wanted) -> bool:
        """Takes of the drawn segments, in their order, what may be there and fits; True if one
        did not fit."""
        drawn = self._allowed(drawn, taken, wanted)
        before = len(taken.numbers)
        while True:
            tokens = self.table.lengths[drawn].cumsum(dtype=np.int64)
            room = wanted.room[before + 1 : before + 1 + len(drawn)] - taken.tokens
            over = tokens[: len(room)] > room
            fits = int(over.argmax()) if over.any() else len(room)
            holding = self._holding(drawn[:fits], wanted)
            if not holding:
                break
            wanted.notes["filler that holds the answer passed over"] += len(holding)
            drawn = drawn[~np.isin(drawn, list(holding))]
        if fits:
            taken.numbers = np.concatenate([taken.numbers, drawn[:fits]])
            taken.tokens += int(tokens[fits - 1])
        return fits < len(drawn)

    def _allowed(self, drawn: Numbers, taken: _Taken, wanted: Wanted) -> Numbers:
        """Without repeats, what is taken already, and the questions' own documents."""
        unique = dict.fromkeys(drawn.tolist())
        if len(unique) < len(drawn):
            drawn = np.fromiter(unique, np.int32, len(unique))
        parents = self.table.parents[drawn]
        keep = parents != wanted.parents[0]
        for parent in wanted.parents[1:]:
            keep &= parents != parent
        if len(taken.numbers):
            keep &= ~np.isin(drawn, taken.numbers)
        allowed: Numbers = drawn[keep]
        return allowed

    def _holding(self, numbers: Numbers, wanted: Wanted) -> set[int]:
        return {n for answer in wanted.answers for n in self.table.holding(answer, numbers)}

    def _fit(
        self, pool: Lengths, taken: _Taken, wanted: Wanted, generator: np.random.Generator
    ) -> Found:
        """Closes the gap with one segment of the right length, added or in place of another."""
        numbers, count = taken.numbers, len(taken.numbers)
        open_ = int(wanted.room[count]) - taken.tokens
        if not open_:
            return Found(numbers, None)
        added = int(wanted.room[count + 1]) - taken.tokens
        gaps = [(count, added)] + [
            (count - 1 - i, open_ + length)
            for i, length in enumerate(self.table.lengths[numbers[: -_SWAPPED - 1 : -1]].tolist())
        ]
        for short in (0, SHORT):
            for place, gap in gaps:
                fitting = pool.between(gap - short, gap)
                number = self._one_of(fitting, numbers, wanted, generator)
                if number is not None:
                    parts = (numbers[:place], numbers[place + 1 :], [number])
                    return Found(np.concatenate(parts, dtype=np.int32), None)
        if open_ <= SHORT:
            return Found(numbers, None)
        return Found(numbers, self._cut(pool, added, numbers, wanted, generator))

    def _one_of(
        self, fitting: Numbers, taken: Numbers, wanted: Wanted, generator: np.random.Generator
    ) -> int | None:
        """One of some segments that may be there; None if the first looked at may not."""
        if not len(fitting):
            return None
        start = int(generator.integers(len(fitting)))
        for i in range(min(len(fitting), _LOOKED_AT)):
            number = int(fitting[(start + i) % len(fitting)])
            if int(self.table.parents[number]) in wanted.parents or (taken == number).any():
                continue
            if not self._holding(np.array([number], np.int32), wanted):
                return number
        return None

    def _cut(
        self, pool: Lengths, gap: int, taken: Numbers, wanted: Wanted,
        generator: np.random.Generator,
    ) -> Cut | None:  # fmt: skip
        """The first words of a longer segment that fit, tokenised anew so that joining is exact."""
        longer = pool.between(gap + 1, 1 << 30)
        number = self._one_of(longer, taken, wanted, generator)
        if number is None:
            return None
        words = self.table.text(number).split(" ")
        best: Cut | None = None
        low, high = 0, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            text = " ".join(words[:middle]).rstrip()
            tokens = self.prompt.encoder.encode(text + self.prompt.separator)
            if text and len(tokens) <= gap:
                best, low = Cut(tokens, text.encode()), middle
            else:
                high = middle - 1
        if best is not None:
            wanted.notes["last filler cut to the drawn length"] += 1
        return best
