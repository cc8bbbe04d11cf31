import numpy as np
import pytest

from fullcontext.report.crossfit import cross_fit
from fullcontext.report.statistics import gap

DEPTHS = np.arange(10) / 10


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(curve, sets, times, random, clustered=0.0):
    """Right or wrong by chance, `times` questions a depth and set."""
    chance = np.clip(curve + clustered * random.choice([-1, 1], (sets, 1, 10)), 0, 1)
    score = (random.random((sets, times, 10)) < chance).astype(float).ravel()
    return score, np.tile(DEPTHS, sets * times), np.repeat(np.arange(sets), times * 10)


def test_a_curve_without_noise_has_the_gap_it_shows():
    score = np.tile(np.where(DEPTHS < 0.4, 1.0, 0.25), 4)  # bins 1, 1, 0.25, 0.25, 0.25
    found = cross_fit(score, np.tile(DEPTHS, 4), np.repeat(np.arange(4), 10), 5, 20, rng())
    assert found == (0.75, 0.25, "set")


def test_a_flat_curve_has_no_gap_on_average():
    random = np.random.default_rng(1)
    samples = [drawn(np.full(10, 0.8), 4, 5, random) for _ in range(80)]
    assert np.mean([gap(score, depth, 10) for score, depth, _ in samples]) > 0.2
    assert abs(np.mean([cross_fit(*each, 10, 20, rng()).gap for each in samples])) < 0.04


def test_sets_are_split_so_that_a_context_is_not_in_both_halves():
    random = np.random.default_rng(2)
    samples = [drawn(np.full(10, 0.5), 4, 25, random, clustered=0.3) for _ in range(60)]
    found = [cross_fit(*each, 10, 20, rng()) for each in samples]
    assert {each.by for each in found} == {"set"}
    assert abs(np.mean([each.gap for each in found])) < 0.1
    # The same answers as if of one context: its luck is in both halves.
    merged = [cross_fit(s, d, np.zeros_like(g), 10, 20, rng()) for s, d, g in samples]
    assert {each.by for each in merged} == {"item"}
    assert np.mean([each.gap for each in merged]) > 0.25


def test_items_are_split_where_half_of_the_sets_lacks_a_bin():
    depth, set_id = np.array([0.1, 0.1, 0.9, 0.9]), np.array([0, 0, 1, 1])
    found = cross_fit(np.array([1, 1, 0, 0.0]), depth, set_id, 3, 20, rng())
    assert found == (1, 0, "item")


def test_worst_is_not_below_the_curve():
    random = np.random.default_rng(3)
    samples = [drawn(np.full(10, 0.8), 4, 5, random) for _ in range(80)]
    assert np.mean([cross_fit(*each, 10, 20, rng()).worst for each in samples]) == pytest.approx(
        0.8, abs=0.03
    )


def test_one_item_a_bin_cannot_be_split():
    found = cross_fit(np.ones(3), np.array([0.1, 0.5, 0.9]), np.zeros(3, int), 3, 20, rng())
    assert np.isnan(found.gap) and np.isnan(found.worst)


def test_the_order_of_rows_does_not_matter():
    score, depth, set_id = drawn(np.full(10, 0.7), 4, 3, np.random.default_rng(4))
    mixed = np.random.default_rng(5).permutation(len(score))
    assert cross_fit(score, depth, set_id, 10, 20, rng()) == pytest.approx(
        cross_fit(score[mixed], depth[mixed], set_id[mixed], 10, 20, rng())
    )
