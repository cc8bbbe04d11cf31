"""How long a context is to be."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fullcontext.compose import ConfigError
from fullcontext.config import DataConfig, LengthLaw


class Law:
    """The length law over one context range.

    `documents` are the tokens of every raw document, which `natural` draws from. Raises ConfigError
    if none of them lies in the range.
    """

    def __init__(self, config: DataConfig, documents: npt.NDArray[np.int64] | None) -> None:
        self.law = config.length
        self.low, self.high = config.context_range
        self._natural: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        if self.law is not LengthLaw.natural:
            return
        known = np.zeros(0, np.int64) if documents is None else documents
        self._natural = np.sort(known[(known >= self.low) & (known <= self.high)])
        if not len(self._natural):
            shorter, longer = int((known < self.low).sum()), int((known > self.high).sum())
            raise ConfigError(
                "data.length=natural draws the length of a raw document, but none of the"
                f" {len(known)} documents of the store lies in data.context_range="
                f"{config.context_range} ({shorter} are shorter, {longer} longer); change the"
                " range, or choose uniform, log_uniform or fixed"
            )

    def draw(self, generator: np.random.Generator) -> int:
        """Tokens of one context."""
        match self.law:
            case LengthLaw.fixed:
                return self.high
            case LengthLaw.uniform:
                return int(generator.integers(self.low, self.high + 1))
            case LengthLaw.log_uniform:
                return round(math.exp(generator.uniform(math.log(self.low), math.log(self.high))))
            case LengthLaw.natural:
                return int(self._natural[generator.integers(len(self._natural))])

    def below(self, edges: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The probability of fewer tokens than each of some edges."""
        low, high = self.low, self.high
        share: npt.NDArray[Any] = edges > high
        match self.law:
            case LengthLaw.uniform:
                share = np.ceil(edges - low) / (high + 1 - low)
            case LengthLaw.log_uniform if high > low:
                # A length is rounded: n stands for all from n - 0.5 to n + 0.5.
                reached = np.log(np.maximum(np.ceil(edges) - 0.5, 1e-9) / low)
                share = reached / math.log(high / low)
            case LengthLaw.natural:
                share = np.searchsorted(self._natural, edges) / len(self._natural)
        return np.clip(share, 0, 1).astype(np.float64)
