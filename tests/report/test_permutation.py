import numpy as np
import pytest

from fullcontext.report.permutation import flat_gap

DEPTHS = np.arange(10) / 10


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(chance, times, random):
    """Right or wrong by chance, of shape (sets, 10), `times` questions a depth and set."""
    score = (random.random((len(chance), times, 10)) < chance[:, None, :]).astype(float)
    depth = np.tile(DEPTHS, len(chance) * times)
    return score.ravel(), depth, np.repeat(np.arange(len(chance)), times * 10)


def test_flat_models_are_seldom_called_bent_and_bent_ones_mostly_are():
    random = np.random.default_rng(1)
    flat = [flat_gap(*drawn(np.full((4, 10), 0.8), 5, random), 10, 99, rng()) for _ in range(100)]
    bend = np.tile(0.95 - 0.5 * DEPTHS, (4, 1))
    bent = [flat_gap(*drawn(bend, 5, random), 10, 99, rng()) for _ in range(100)]
    for p in ("bin_p", "item_p", "gap_p"):
        assert np.mean([getattr(each, p) <= 0.05 for each in flat]) <= 0.12
        assert np.mean([getattr(each, p) <= 0.05 for each in bent]) >= 0.4
    assert np.mean([each.item_p <= 0.05 for each in bent]) > np.mean(
        [each.gap_p <= 0.05 for each in bent]
    )


def test_contexts_that_are_hard_in_one_place_deceive_items_and_not_bins():
    random = np.random.default_rng(2)
    found = []
    for _ in range(100):
        chance = 0.5 + 0.3 * random.choice([-1, 1], (4, 10))  # each context bent in its own way
        found.append(flat_gap(*drawn(chance, 20, random), 10, 99, rng()))
    assert np.mean([each.item_p <= 0.05 for each in found]) > 0.6
    assert np.mean([each.p_value <= 0.05 for each in found]) <= 0.12


def test_p_is_of_shuffled_bins_where_every_set_has_every_bin():
    score, depth, set_id = drawn(np.full((4, 10), 0.5), 2, np.random.default_rng(3))
    found = flat_gap(score, depth, set_id, 5, 99, rng())
    assert found.p_value == found.bin_p != found.item_p
    one = flat_gap(score, depth, np.zeros_like(set_id), 5, 99, rng())
    assert np.isnan(one.bin_p) and one.p_value == one.item_p
    whole = (set_id != 0) | (depth < 0.8)  # the first set lacks the last bin
    part = flat_gap(score[whole], depth[whole], set_id[whole], 5, 99, rng())
    assert np.isnan(part.bin_p) and part.p_value == part.item_p


def test_sets_of_unequal_difficulty_and_depths_are_no_position_effect():
    # An easy set asked at the start and a hard one at the end: nothing within either.
    score, depth = np.repeat([1.0, 0.0], 20), np.repeat([0.1, 0.9], 20)
    found = flat_gap(score, depth, np.repeat([0, 1], 20), 5, 99, rng())
    assert (found.gap, found.expected, found.p_value) == (1, 1, 1)


def test_empty_bins_are_left_out():
    score, depth, set_id = drawn(np.full((4, 10), 0.5), 3, np.random.default_rng(4))
    assert flat_gap(score, depth / 2, set_id, 20, 99, rng()) == pytest.approx(
        flat_gap(score, depth, set_id, 10, 99, rng())
    )
