"""Ranks that wait for each other wait little."""

import numpy as np

from fullcontext.data.balance import spread


def test_equal_bins_are_found_where_there_are_any() -> None:
    """Pairs of 8 + 2, 7 + 3, 6 + 4, 5 + 5."""
    costs = [8, 7, 6, 5, 5, 4, 3, 2]
    (together,) = spread(costs, costs, 10, 4)
    assert [sum(costs[i] for i in items) for items in together] == [10] * 4


def test_what_cannot_be_equal_runs_beside_its_like() -> None:
    costs = [90, 10, 12, 91]
    first, second = spread(costs, [60] * 4, 100, 2)
    assert sorted(map(tuple, first)) == [(0,), (3,)]
    assert sorted(map(tuple, second)) == [(1,), (2,)]


def test_the_ranks_sums_are_alike_too() -> None:
    """For ranks that meet once a step: 9 + 6 against 8 + 7, not 9 + 7 against 8 + 6."""
    costs = [9, 8, 7, 6]
    rounds = spread(costs, [60] * 4, 100, 2)
    assert [sum(costs[together[rank][0]] for together in rounds) for rank in (0, 1)] == [15, 15]


def test_sixteen_ranks_lose_at_most_a_twentieth_at_4k_to_32k() -> None:
    """The paper's step: 128 examples; waiting in every micro-batch costs 1.89 when done naively."""
    waits = []
    for draw in range(5):
        tokens = np.random.default_rng(draw).integers(4096, 32769, 128).tolist()
        costs = [n + n * n // 53_000 for n in tokens]
        rounds = spread(costs, tokens, 36864, 16)
        dearest = [max(sum(costs[i] for i in items) for items in bins) for bins in rounds]
        waits.append(sum(dearest) / (sum(costs) / 16))
    assert max(waits) < 1.05 and np.mean(waits) < 1.035
