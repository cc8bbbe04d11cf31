"""95 % intervals from few contexts: what is known of a statistic once each context was left out.

A percentile bootstrap by context stays within what few contexts show and covers about 80 % at 4 of
them and 88 % at 8, whatever the number of questions (benchmarks/coverage.py). The standard
error here is the jackknife's, to which a bootstrap by context would converge but for a factor of
contexts / (contexts - 1); the width is Student's, at the degrees of freedom that the sizes of the
contexts leave. Nothing is assumed of the noise within a context: questions of one context may
agree, or not. Means of scores in 0-1 get Wilson's form, which stays within 0-1 and has width at
20 right of 20.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A statistic and its 95 % interval; the ends are nan where there is none."""

    value: float
    low: float
    high: float


class Ends(NamedTuple):
    """Ends of intervals, of any shape."""

    low: Floats
    high: Floats


def variance(deleted: Floats) -> Floats:
    """The jackknife's variance, from the statistic without each context, shape (contexts, ...).

    nan for a single context and where the statistic falls away with a context. 0 where the contexts
    agree to the last digit, which says nothing of how far apart others would be.
    """
    contexts = len(deleted)
    if contexts < 2:
        return np.full(deleted.shape[1:], np.nan)
    spread = deleted - deleted.mean(axis=0)
    found = np.asarray((contexts - 1) / contexts * (spread * spread).sum(axis=0))
    return np.where(found < 1e-20, 0.0, found)


def freedom(counts: Floats, weight: Floats) -> Floats:
    """Degrees of freedom of `variance` for sums of region means: Satterthwaite's, at equal noise.

    counts, of shape (contexts, regions), are items; weight, of shape (statistics, regions), is what
    the mean of each region counts in each statistic. Contexts - 1 where all have the same items;
    fewer where few contexts hold most of them. Returns the shape (statistics,).
    """
    total = np.maximum(counts.sum(axis=0), 1e-9)
    share, scale = counts / total, weight * weight / total
    # The contexts' residual sums have the covariance diag(share) - share share', by region.
    return satterthwaite(scale @ share.T, np.sqrt(scale)[:, None, :] * share)


def satterthwaite(own: Floats, taken: Floats) -> Floats:
    """trace(M) squared / trace(M M), but 1 at least, of M = diag(own) - taken taken'.

    own has the shape (..., contexts) and taken (..., contexts, fitted), so that many contexts need
    no matrix of contexts by contexts. Returns the shape (...).
    """
    squares = (taken * taken).sum(axis=-1)
    trace = (own - squares).sum(axis=-1)
    inner = np.swapaxes(taken, -1, -2) @ taken
    square = (own * own - 2 * own * squares).sum(axis=-1) + (inner * inner).sum(axis=(-1, -2))
    known = square > 1e-300
    return np.asarray(np.maximum(np.where(known, trace**2 / np.where(known, square, 1), 1), 1))


def quantile(freedom: Floats) -> Floats:
    """Student's 97.5 % quantile."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(freedom, 0.975))


def p_value(value: Floats, variance: Floats, freedom: Floats) -> Floats:
    """Two-sided p of no effect, Student's.

    Without variance 1 where the value is 0 and nan, as for nan, where it is not.
    """
    from scipy.special import stdtr

    found = 2 * stdtr(freedom, -np.abs(value) / _error(variance))
    return np.asarray(np.where((variance == 0) & (np.abs(value) < 1e-12), 1.0, found))


def symmetric(value: Floats, variance: Floats, freedom: Floats) -> Ends:
    """value - t * standard error, value + t * standard error; nan without variance."""
    half = quantile(freedom) * _error(variance)
    return Ends(np.asarray(value - half), np.asarray(value + half))


def proportion(mean: Floats, variance: Floats, freedom: Floats, items: Floats) -> Ends:
    """Wilson's interval of a mean of scores in 0-1, at as many items as the variance is worth.

    Where the contexts agree to the last digit (variance 0), the items count as independent.
    Korn and Graubard's idea (1998), with Wilson's interval for Clopper and Pearson's.
    """
    own = mean * (1 - mean)
    varies = (variance > 0) & (own > 1e-12)
    worth = np.where(varies, own / np.where(varies, variance, 1), items)
    worth = np.where(np.isnan(variance) | (worth <= 0), np.nan, worth)
    reach = quantile(freedom) ** 2 / worth
    half = np.sqrt(reach * np.maximum(own, 0) + reach * reach / 4)
    low, high = (mean + reach / 2 - half) / (1 + reach), (mean + reach / 2 + half) / (1 + reach)
    # 0 and 1 to the last digit, and the mean within
    return Ends(np.clip(low, 0, mean), np.clip(high, mean, 1))


def _error(variance: Floats) -> Floats:
    """Standard error; nan, no certainty, for a variance of 0."""
    return np.asarray(np.sqrt(np.where(variance > 0, variance, np.nan)))
