import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullcontext.report import statistics
from fullcontext.report.comparison import Sample, adjusted, compare, holm, mcnemar
from fullcontext.report.moments import CONTRASTS

DEPTHS = np.arange(10) / 10


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def sample(score, sets=4, length=1000):
    """`score`, of shape (10,) or (10 * sets,), at ten depths of each set."""
    items = 10 * sets
    score = np.tile(score, items // len(score)).astype(float)
    position = np.tile(np.arange(10), sets)
    return Sample(
        score, position / 10, np.repeat(np.arange(sets), 10), position, np.full(items, length)
    )


def noisy(seed, sets=4):
    return sample((np.random.default_rng(seed).random(10 * sets) < 0.6).astype(float), sets)


def test_a_difference_is_b_minus_a():
    found = compare(noisy(1), noisy(2), 5, 100, rng()).contrasts
    for key in CONTRASTS:
        parts = [
            statistics.estimate(each.score, each.depth, each.set_id, 5).contrasts[key].value
            for each in (noisy(1), noisy(2))
        ]
        assert found[key].value == pytest.approx(parts[1] - parts[0])


def test_the_interval_and_p_are_those_of_a_paired_t_test_over_sets():
    from scipy.stats import ttest_1samp

    a, b = noisy(1), noisy(2)
    found = compare(a, b, 5, 100, rng()).contrasts["avg"]
    test = ttest_1samp((b.score - a.score).reshape(4, 10).mean(axis=1), 0)
    assert found.p_value == pytest.approx(test.pvalue)
    assert found[1:3] == pytest.approx(tuple(test.confidence_interval()))


def test_what_both_runs_share_falls_out():
    hard_set = np.repeat([0.0, 0.3, 0.6, 0.9], 10)
    a = sample(hard_set)
    lift = np.repeat([0.1, 0.1, 0.1, 0.12], 10)
    found = compare(a, sample(hard_set + lift), 5, 100, rng()).contrasts["avg"]
    assert found.high - found.low < 0.04
    single = statistics.estimate(a.score, a.depth, a.set_id, 5).contrasts["avg"]
    assert single.high - single.low > 0.5


def test_runs_that_answer_alike_do_not_differ():
    found = compare(noisy(1), noisy(1), 5, 100, rng())
    for key in CONTRASTS:
        assert (found.contrasts[key].value, found.contrasts[key].p_value) == (0, 1)
        assert found.contrasts[key].swap_p == 1
    assert found.mcnemar == (0, 0, 1)


def test_four_sets_swap_in_sixteen_ways():
    found = compare(sample(np.zeros(10)), sample(np.ones(10)), 5, 100, rng()).contrasts["avg"]
    assert found.value == 1
    assert found.swap_p == 2 / 16  # all swapped and none
    assert np.isnan(found.p_value)  # the sets agree to the last digit: no t


def test_many_sets_are_swapped_at_random():
    a, b = sample(np.zeros(10), sets=20), sample(np.ones(10), sets=20)
    assert compare(a, b, 5, 99, rng()).contrasts["avg"].swap_p == 1 / 100


def test_questions_are_paired_whatever_their_order():
    b = noisy(2)
    shuffled = b.take(np.random.default_rng(5).permutation(40))
    assert repr(compare(noisy(1), b, 5, 100, rng())) == repr(
        compare(noisy(1), shuffled, 5, 100, rng())
    )


def test_unpaired_questions_are_named_and_count_for_nothing():
    a, b = noisy(1), noisy(2)
    found = compare(a.take(np.arange(1, 40)), b.take(np.arange(38)), 5, 100, rng())
    assert (found.items, found.unpaired) == (37, 3)
    assert found.only_a == ((1000, 3, 8), (1000, 3, 9)) and found.only_b == ((1000, 0, 0),)
    both = compare(a.take(np.arange(1, 38)), b.take(np.arange(1, 38)), 5, 100, rng())
    assert found.contrasts["avg"] == pytest.approx(both.contrasts["avg"])


def test_one_set_has_a_difference_and_no_interval():
    found = compare(noisy(1, sets=1), noisy(2, sets=1), 5, 100, rng()).contrasts["avg"]
    assert np.isfinite(found.value) and np.isnan(found.low) and np.isnan(found.p_value)


def test_runs_without_a_shared_question_are_refused():
    with pytest.raises(ValueError, match="share no question"):
        compare(sample(np.ones(10)), sample(np.ones(10), length=2000), 5, 100, rng())


def test_a_question_answered_twice_is_refused():
    a = noisy(1)
    with pytest.raises(ValueError, match=r"\(1000, 0, 3\) are answered more than once"):
        compare(a.take(np.array([3, 3])), a, 5, 100, rng())


def test_mcnemar_counts_what_changed():
    before, after = np.array([1, 1, 0, 0, 0, 0, 0, 0.0]), np.array([1, 0, 1, 1, 1, 1, 1, 0.0])
    assert mcnemar(before, after) == (5, 1, pytest.approx(2 * 7 / 64))  # 1 or fewer of 6 tosses
    assert mcnemar(before, after / 2) is None


def test_questions_that_change_together_have_a_design_effect():
    together = sample(np.repeat([1.0, 0, 1, 1, 0, 0, 1, 0], 10), sets=8)
    found = compare(sample(np.zeros(10), sets=8), together, 5, 100, rng())
    assert found.design_effect == pytest.approx(10 * 79 / 70, rel=1e-6)  # ten items say one thing
    assert found.mcnemar is not None and found.mcnemar.p_value < 1e-9
    assert found.contrasts["avg"].p_value > 0.01


def test_the_curve_of_a_difference_has_intervals():
    found = compare(noisy(1), noisy(2), 5, 100, rng()).curve
    assert found.items.tolist() == [8] * 5
    assert (found.low <= found.mean).all() and (found.mean <= found.high).all()


def test_holm_is_the_textbook_example():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, np.nan, 0.7])) == pytest.approx([1, np.nan, 1], nan_ok=True)
    assert holm(np.array([])).tolist() == []


def test_a_table_is_adjusted_as_a_whole():
    compared = {
        "document": compare(noisy(1), noisy(2), 5, 100, rng()),
        "code": compare(noisy(3), noisy(4), 5, 100, rng()),
    }
    raw = [compared[name].contrasts[key].p_value for name in compared for key in CONTRASTS]
    found = adjusted(compared)
    assert [found[name][key] for name in compared for key in CONTRASTS] == pytest.approx(
        holm(np.array(raw)).tolist()
    )


p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(p_values)
def test_holm_never_lowers_a_p_value_and_keeps_their_order(given_p):
    raw = np.array(given_p)
    found = holm(raw)
    assert (found >= raw).all() and (found <= 1).all()
    assert (np.diff(found[np.argsort(raw, kind="stable")]) >= 0).all()
    assert found.min() == pytest.approx(min(1, raw.min() * len(raw)))


@given(st.integers(0, 10**6), st.integers(2, 6))
@settings(max_examples=30)
def test_swapping_the_runs_swaps_the_signs(seed, sets):
    a, b = noisy(seed, sets), noisy(seed + 1, sets)
    one, other = compare(a, b, 5, 64, rng()), compare(b, a, 5, 64, rng())
    for key in CONTRASTS:
        assert one.contrasts[key].value == pytest.approx(-other.contrasts[key].value)
        assert one.contrasts[key].low == pytest.approx(-other.contrasts[key].high, nan_ok=True)
        assert one.contrasts[key].p_value == pytest.approx(
            other.contrasts[key].p_value, nan_ok=True
        )
        assert one.contrasts[key].swap_p == pytest.approx(other.contrasts[key].swap_p)
