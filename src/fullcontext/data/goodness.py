"""Whether what was realised is what was requested: p-values of counts in bins."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

LEAST = 5
"""Expected counts a bin below which chi-square says nothing."""


def chi_square(realised: Sequence[float], expected: Sequence[float] | None) -> float | None:
    """p-value of the realised counts under the expected ones; None with fewer than 5 a bin."""
    if expected is None:
        return None
    pairs = [(r, e) for r, e in zip(realised, expected, strict=True) if e > 0]
    if len(pairs) < 2 or min(e for _, e in pairs) < LEAST:
        return None
    observed = np.array([r for r, _ in pairs], float)
    wanted = np.array([e for _, e in pairs], float)
    if observed.sum() <= 0:
        return None
    wanted *= observed.sum() / wanted.sum()
    return round(float(stats.chisquare(observed, wanted).pvalue), 6)


def kolmogorov_smirnov(realised: Sequence[float], expected: Sequence[float] | None) -> float | None:
    """p-value of the largest distance between two cumulated histograms; None with fewer than 5.

    The histograms are fine enough to stand for the values; what falls into one bin cannot differ,
    so the p-value is, if anything, too large.
    """
    total = float(np.sum(realised))
    if expected is None or total < LEAST or float(np.sum(expected)) <= 0:
        return None
    share = np.cumsum(realised) / total
    wanted = np.cumsum(expected) / float(np.sum(expected))
    distance = float(np.abs(share - wanted).max())
    return round(float(stats.kstwobign.sf(distance * math.sqrt(total))), 6)
