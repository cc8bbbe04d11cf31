"""Which output is best, without a gold answer: minimum Bayes risk (SEALONG, section 2.2).

The score of an output is its mean utility for all outputs, itself included. Nothing depends on the
order in which outputs come: sums are exactly rounded, and ties are broken by a hash of the texts.
"""

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def utilities(texts: Sequence[str], utility: Callable[[str, str], float]) -> Matrix:
    """Shape (outputs, outputs): how well each stands for each; `utility` is symmetric.

    Equal texts are compared once.
    """
    distinct = sorted(set(texts))
    at = {text: place for place, text in enumerate(distinct)}
    found = np.zeros((len(distinct), len(distinct)))
    for i, one in enumerate(distinct):
        for j in range(i, len(distinct)):
            found[i, j] = found[j, i] = utility(one, distinct[j])
    places = [at[text] for text in texts]
    return found[np.ix_(places, places)]


def bayes(matrix: Matrix) -> list[float]:
    """The mean of each row, in which the order of the columns leaves no trace."""
    return [math.fsum(row) / len(row) for row in matrix.tolist()]


def ascending(scores: Sequence[float], texts: Sequence[str], seed: int, id: str) -> list[int]:
    """Places of the outputs, worst first; of equal scores in an order that their texts decide."""

    def key(place: int) -> tuple[float, str, int]:
        said = hashlib.sha256(f"tie {seed} {id} {texts[place]}".encode()).hexdigest()
        return scores[place], said, place

    return sorted(range(len(scores)), key=key)


def worse_half(order: Sequence[int]) -> list[int]:
    """Of outputs in ascending order those that a rejected one is drawn from; none of one output."""
    return list(order[: len(order) // 2])
