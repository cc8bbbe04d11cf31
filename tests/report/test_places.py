import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.report.places import place_map


def grid(sets=4):
    """Places 0.05, 0.15 ... at distances 0 to 0.8 that fit; the same in every set."""
    cells = [(p, d) for p in np.arange(10) / 10 + 0.05 for d in np.arange(5) / 5]
    cells = [(p, d) for p, d in cells if d / 2 <= min(p, 1 - p) + 1e-9] * sets
    place, distance = np.array(cells).T
    return place, distance, np.repeat(np.arange(sets), len(place) // sets)


def test_cells_are_means_and_counts():
    score, place = np.array([1, 0, 1, 1.0]), np.array([0.1, 0.2, 0.6, 0.9])
    found = place_map(score, place, np.array([0.1, 0.1, 0.7, 0.0]), np.arange(4), (2, 2))
    assert found.mean == pytest.approx(np.array([[0.5, np.nan], [1, 1]]), nan_ok=True)
    assert found.items.tolist() == [[2, 0], [1, 1]]


def test_distance_is_told_from_place():
    place, distance, sets = grid()
    u_shape = 2 * np.abs(np.floor(place * 5) - 2) / 5  # any curve over the place bins
    found = place_map(u_shape - 0.3 * distance, place, distance, sets, (5, 5))
    assert found.distance.value == pytest.approx(-0.3)
    # Without the adjustment the U would count as a gain of nearness: ends allow no distance.
    assert np.polyfit(distance, u_shape - 0.3 * distance, 1)[0] < -0.4


def test_place_is_told_from_distance():
    place, distance, sets = grid()
    found = place_map(0.2 * place - distance**2, place, distance, sets, (5, 5))
    assert found.place.value == pytest.approx(0.2)


def test_slopes_are_those_of_least_squares_with_a_level_for_each_bin():
    random = np.random.default_rng(0)
    place, distance = random.random(200), random.random(200)
    score, sets = random.random(200), random.integers(0, 6, 200)
    levels = np.eye(4)[np.floor(place * 4).astype(int)]
    slope = np.linalg.lstsq(np.column_stack([levels, distance]), score, rcond=None)[0][-1]
    assert place_map(score, place, distance, sets, (4, 4)).distance.value == pytest.approx(slope)


def test_intervals_come_from_sets():
    place, distance, sets = grid()
    noise = np.array([0.1, -0.1, 0.3, -0.3])[sets]  # the slope differs between sets
    found = place_map(noise * distance, place, distance, sets, (5, 5)).distance
    assert found.value == pytest.approx(0, abs=1e-9)
    error = np.std([0.1, -0.1, 0.3, -0.3], ddof=1) / 2
    assert found.high == pytest.approx(3.182 * error, rel=1e-3)  # Student's t over four sets
    one = place_map(noise * distance, place, distance, np.zeros_like(sets), (5, 5))
    assert np.isnan(one.distance.low)


def test_one_distance_has_no_slope_over_distance():
    place, _, sets = grid()
    found = place_map(place, place, np.full(len(place), 0.5), sets, (5, 5))
    assert np.isnan(found.distance.value) and np.isnan(found.distance.low)
    assert found.place.value == pytest.approx(1)


def test_questions_over_one_item_are_refused():
    one = np.ones(1)
    with pytest.raises(ValueError, match="a distance is outside 0-1"):
        place_map(one, one, np.array([np.nan]), np.zeros(1, int), (2, 2))


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_planes_are_found_whatever_their_slopes(along_place, along_distance):
    place, distance, sets = grid(sets=2)
    score = along_distance * distance + along_place * np.floor(place * 5) / 5
    found = place_map(score, place, distance, sets, (5, 5))
    assert found.distance.value == pytest.approx(along_distance, abs=1e-9)
