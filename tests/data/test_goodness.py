"""Tests of fit: silent on samples of the law, loud on others."""

import numpy as np

from fullcontext.data.goodness import chi_square, kolmogorov_smirnov


def test_counts_of_the_law_pass_and_others_fail() -> None:
    assert chi_square([10, 10, 10], [10.0, 10.0, 10.0]) == 1
    assert chi_square([30, 0, 0], [10.0, 10.0, 10.0]) < 1e-6
    assert chi_square([1, 1], [1.0, 1.0]) is None
    assert chi_square([1, 1], None) is None


def test_the_p_value_of_kolmogorov_and_smirnov_is_even_under_the_law() -> None:
    draw = np.random.default_rng(0)
    values = [
        kolmogorov_smirnov(np.histogram(draw.random(200), 256, (0, 1))[0], [1.0] * 256)
        for _ in range(300)
    ]
    assert abs(np.mean(np.array(values) < 0.5) - 0.5) < 0.12
    assert np.mean(np.array(values) < 0.05) < 0.09


def test_a_shifted_sample_fails() -> None:
    shifted = np.histogram(0.2 + 0.8 * np.random.default_rng(0).random(500), 256, (0, 1))[0]
    assert kolmogorov_smirnov(shifted, [1.0] * 256) < 1e-6
    assert kolmogorov_smirnov([0, 0], [1, 1]) is None
