"""Which question is example i: arithmetic on i, no state, the same for any number of ranks."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from fullcontext.randomness import rng

DIGITS = 10_000
"""Ratios are used to four decimals; what rounding leaves goes to the largest."""


class Sampler:
    """Example id -> (kind, place in the kind's pool, pass over the pool).

    Any n first examples hold n * ratio of each kind, to within one example. The c-th draw of a
    kind takes the c-th place of a seeded permutation of its pool, a new one in every pass.
    """

    def __init__(self, mixture: Mapping[str, float], pools: Mapping[str, int], seed: int) -> None:
        self.kinds = [kind for kind, ratio in mixture.items() if ratio > 0]
        self.pools, self.seed = dict(pools), seed
        weights = [round(mixture[kind] * DIGITS) for kind in self.kinds]
        weights[weights.index(max(weights))] += DIGITS - sum(weights)
        shared = math.gcd(*weights)
        self._weights = [weight // shared for weight in weights]
        self.period = sum(self._weights)
        self._order, self._before = _spread(self._weights)

    def draw(self, index: int) -> tuple[str, int]:
        """Kind of example `index`, and how many of that kind came before it."""
        period, place = divmod(index, self.period)
        kind = int(self._order[place])
        count = period * self._weights[kind] + int(self._before[place])
        return self.kinds[kind], count

    def pick(self, index: int) -> tuple[str, int]:
        """Kind of example `index` and the place of its question in the kind's pool."""
        kind, count = self.draw(index)
        passes, place = divmod(count, self.pools[kind])
        return kind, int(_permutation(self.seed, kind, passes, self.pools[kind])[place])

    def counts(self, examples: int) -> dict[str, int]:
        """How many of the first `examples` are of each kind."""
        periods, rest = divmod(examples, self.period)
        extra = np.bincount(self._order[:rest], minlength=len(self.kinds))
        return {
            kind: periods * weight + int(more)
            for kind, weight, more in zip(self.kinds, self._weights, extra, strict=True)
        }


def _spread(weights: list[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """One period: at each place the kind that lags most, and how many of it came before."""
    total = sum(weights)
    order = np.empty(total, np.int32)
    before = np.empty(total, np.int32)
    made = [0] * len(weights)
    for place in range(total):
        lag = [(place + 1) * w - total * m for w, m in zip(weights, made, strict=True)]
        kind = lag.index(max(lag))
        order[place], before[place] = kind, made[kind]
        made[kind] += 1
    return order, before


@lru_cache(maxsize=8)
def _permutation(seed: int, kind: str, passes: int, size: int) -> np.ndarray[Any, Any]:
    return rng(seed, f"order of {kind}", passes).permutation(size).astype(np.int32)
