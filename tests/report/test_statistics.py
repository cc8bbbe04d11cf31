import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullcontext.report import statistics
from fullcontext.report.moments import CONTRASTS, Moments, contrasts

DEPTHS = np.arange(10) / 10


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def stacked(curve, sets):
    """The same curve in every set."""
    score, depth = np.tile(curve, sets).astype(float), np.tile(DEPTHS, sets)
    return score, depth, np.repeat(np.arange(sets), len(DEPTHS))


U = np.array([1, 1, 0.5, 0.5, 0.4, 0.4, 0.5, 0.5, 0.8, 0.8])


def test_bins_are_half_open_and_the_last_is_closed():
    depth = np.array([0.0, 0.2, 0.39, 0.6, 3 * 0.2, 0.99, 1.0])
    assert statistics.bin_index(depth, 5).tolist() == [0, 1, 1, 3, 3, 4, 4]


def test_bin_means_of_an_empty_bin_are_nan():
    means, items = statistics.bin_means(np.array([1.0, 0.0]), np.array([0.0, 0.9]), 3)
    assert items.tolist() == [1, 0, 1]
    assert means[0] == 1 and np.isnan(means[1]) and means[2] == 0


def test_litm_is_the_ends_minus_the_middle():
    assert statistics.litm(U, DEPTHS) == pytest.approx((1 + 0.8) / 2 - 0.4)


def test_litm_without_items_in_the_middle_is_nan():
    assert np.isnan(statistics.litm(np.array([1.0, 1.0]), np.array([0.0, 0.9])))


def test_summary_is_what_a_probe_logs():
    found = statistics.summary(*stacked(U, 2), bins=5)
    assert found == pytest.approx({"avg": 0.64, "litm": 0.5, "gap": 0.6, "worst": 0.4, "n": 20})


def test_contrasts_of_a_u_are_positive_and_of_known_size():
    found = statistics.estimate(*stacked(U, 4), 5).contrasts
    assert {key: each.value for key, each in found.items()} == pytest.approx(
        {"avg": 0.64, "litm": 0.5, "primacy": 0.6, "recency": 0.4, "slope": -16 / 82.5},
        abs=1e-4,
    )


def test_slope_of_a_line_is_its_slope():
    found = statistics.estimate(*stacked(0.2 + 0.5 * DEPTHS, 2), 5).contrasts
    assert found["slope"].value == pytest.approx(0.5)


def test_sets_that_agree_to_the_last_digit_do_not_make_a_contrast_certain():
    found = statistics.estimate(*stacked(U, 4), 5)
    assert np.isnan(found.contrasts["litm"].low) and np.isnan(found.contrasts["slope"].high)


def test_intervals_are_those_of_a_t_test_over_sets():
    litms = np.array([0.3, 0.5, 0.6, 0.6])  # mean 0.5, standard error sqrt(0.02 / 4)
    score, depth, set_id = stacked(U, 4)
    middle = statistics.bin_index(depth, 5) == 2
    score[middle] += 0.5 - np.repeat(litms, 2)
    found = statistics.estimate(score, depth, set_id, 5).contrasts["litm"]
    assert found == pytest.approx((0.5, 0.5 - 3.182 * 0.0707, 0.5 + 3.182 * 0.0707), abs=1e-3)


def test_all_right_is_no_proof_of_1():
    found = statistics.estimate(*stacked(np.ones(10), 4), 5)
    avg = found.contrasts["avg"]
    assert avg == pytest.approx((1, 1 - 10.13 / (40 + 10.13), 1), abs=1e-3)  # Wilson, 40 of 40
    assert (found.curve.low < 0.5).all() and (found.curve.high == 1).all()


def test_means_of_scores_stay_within_0_and_1_and_other_values_do_not():
    score, depth, set_id = stacked(U, 4)
    score[set_id == 3] = 1
    avg = statistics.estimate(score, depth, set_id, 5).contrasts["avg"]
    assert avg.low < 0.64 < avg.value < avg.high < 1
    wide = statistics.estimate(score - 2, depth, set_id, 5).contrasts["avg"]
    assert wide.high - wide.value == pytest.approx(3.182 * 0.36 / 4, abs=1e-3)
    assert wide.high > -1


def test_unequal_sets_leave_fewer_degrees_of_freedom():
    score, depth, _ = stacked(U, 8)
    equal, unequal = np.repeat(np.arange(8), 10), np.repeat([0, 0, 0, 0, 0, 1, 2, 3], 10)
    free = [Moments.of(score, depth, each, 5).freedom for each in (equal, unequal)]
    assert [free[0][key] for key in CONTRASTS] == pytest.approx([7] * 5)
    assert all(1 < free[1][key] < 3 for key in CONTRASTS)


def test_degrees_of_freedom_are_those_of_least_squares_residuals():
    random = np.random.default_rng(6)
    depth, set_id = random.random(60), random.integers(0, 5, 60) ** 2 // 4
    found = Moments.of(random.random(60), depth, set_id, 5).freedom
    design = np.column_stack([np.ones(60), depth])
    away = depth - depth.mean()
    for key, columns, weight in (
        ("avg", design[:, :1], np.ones(60)),
        ("slope", design, away / (away @ away)),
    ):
        by_set = np.array([np.where(set_id == one, weight, 0) for one in np.unique(set_id)])
        rest = by_set @ (np.eye(60) - columns @ np.linalg.pinv(columns)) @ by_set.T
        assert found[key] == pytest.approx(np.trace(rest) ** 2 / np.trace(rest @ rest))


def test_what_sets_contribute_sums_to_the_contrast():
    random = np.random.default_rng(2)
    moments = Moments.of(random.random(90), random.random(90), random.integers(0, 5, 90), 5)
    whole = contrasts(moments.total)
    parts = {key: part.sum() for key, part in moments.contributions.items()}
    assert parts == pytest.approx({key: float(value) for key, value in whole.items()})


def test_one_set_has_no_interval():
    found = statistics.estimate(*stacked(U, 1), 5)
    assert np.isnan(found.contrasts["litm"].low) and np.isnan(found.curve.high).all()
    assert found.contrasts["litm"].value == pytest.approx(0.5)


def test_few_items_and_few_sets_are_flagged():
    assert statistics.cautions(np.array([50, 60]), 4) == []
    assert statistics.cautions(np.array([49, 60]), 3) == [
        "fewest items in a bin: 49, below 50",
        "the interval rests on too few contexts (3)",
    ]
    assert statistics.cautions(np.array([50]), 1) == ["one context, so no interval"]


def test_gap_of_a_flat_model_is_what_permutation_expects():
    random = np.random.default_rng(1)
    score = (random.random(3000) < 0.8).astype(float)
    depth, set_id = np.tile(np.arange(750) / 750, 4), np.repeat(np.arange(4), 750)
    found = statistics.flat_gap(score, depth, set_id, 15, 500, rng())
    assert 0.07 < found.expected < 0.13  # 10 points at 200 items a bin: eval_data.md, 2.3
    assert found.p_value > 0.05
    assert found.gap < found.percentile95


def test_a_position_effect_has_the_smallest_possible_p():
    found = statistics.flat_gap(*stacked((DEPTHS < 0.5).astype(float), 10), 5, 199, rng())
    assert found.gap == 1
    assert found.p_value == pytest.approx(1 / 200)


def test_permutation_stays_within_the_set():
    score, depth, set_id = stacked(np.ones(10), 2)
    score[set_id == 1] = 0  # sets differ, positions do not
    found = statistics.flat_gap(score, depth, set_id, 5, 100, rng())
    assert found == (0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)


def test_interval_of_litm_covers_the_truth():
    truth, random = 0.5, np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        noise = random.normal(0, 0.2, 200) + np.repeat(random.normal(0, 0.1, 20), 10)
        score, depth, set_id = stacked(U, 20)
        found = statistics.estimate(score + noise, depth, set_id, 5)
        interval = found.contrasts["litm"]
        hits += interval.low <= truth <= interval.high
    assert 86 <= hits <= 100


def test_empty_and_unequal_arrays_are_refused():
    none = np.array([])
    with pytest.raises(ValueError, match="no answers"):
        statistics.summary(none, none, none.astype(int), 5)
    with pytest.raises(ValueError, match="1 scores, 10 depths"):
        statistics.summary(np.ones(1), DEPTHS, np.zeros(10, int), 5)


def test_statistics_are_importable_without_matplotlib():
    code = "import fullcontext.report.statistics, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


items = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=40
)


@given(st.floats(0, 1), st.integers(3, 12), st.integers(1, 4))
def test_flat_curves_have_no_contrast(level, bins, sets):
    score, depth, set_id = stacked(np.full(10, level), sets)
    found = statistics.estimate(score, depth, set_id, bins).contrasts
    for key in ("litm", "primacy", "recency", "slope"):
        assert found[key].value == pytest.approx(0, abs=1e-9)


@given(items, st.integers(3, 10), st.randoms())
@settings(max_examples=50)
def test_statistics_ignore_the_order_of_rows(rows, bins, random):
    mixed = list(rows)
    random.shuffle(mixed)
    found = []
    for each in (rows, mixed):
        score, depth, set_id = (np.array(column) for column in zip(*each, strict=True))
        estimate = statistics.estimate(score, depth, set_id, bins)
        flat = statistics.flat_gap(score, depth, set_id, bins, 30, rng())
        found.append([*estimate.curve.mean, *estimate.contrasts["avg"], *flat])
    assert found[0] == pytest.approx(found[1], nan_ok=True, abs=1e-9)


@given(items, st.integers(3, 10))
@settings(max_examples=50)
def test_intervals_contain_the_point(rows, bins):
    score, depth, set_id = (np.array(column) for column in zip(*rows, strict=True))
    found = statistics.estimate(score, depth, set_id, bins)
    for each in found.contrasts.values():
        if np.isfinite(each.low):
            assert each.low <= each.value <= each.high
    known = np.isfinite(found.curve.low)
    assert (found.curve.low[known] <= found.curve.mean[known]).all()
    assert (found.curve.high[known] >= found.curve.mean[known]).all()


@given(st.floats(0.05, 0.5), st.integers(1, 4))
def test_a_dip_in_the_middle_is_positive_litm(depth_of_dip, sets):
    score, depth, set_id = stacked(1 - depth_of_dip * np.sin(np.pi * DEPTHS), sets)
    assert statistics.summary(score, depth, set_id, 5)["litm"] > 0


@given(items, st.integers(3, 10))
@settings(max_examples=50)
def test_summary_agrees_with_the_estimate(rows, bins):
    score, depth, set_id = (np.array(column) for column in zip(*rows, strict=True))
    cheap = statistics.summary(score, depth, set_id, bins)
    full = statistics.estimate(score, depth, set_id, bins)
    assert cheap["avg"] == pytest.approx(full.contrasts["avg"].value, abs=1e-9)
    assert cheap["litm"] == pytest.approx(full.contrasts["litm"].value, abs=1e-9, nan_ok=True)
    assert cheap["worst"] == pytest.approx(np.nanmin(full.curve.mean), abs=1e-9)
