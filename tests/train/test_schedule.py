"""Rates at warm-up, middle and end, checkable by eye."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.config import Decay, ScheduleConfig
from fullcontext.train.schedule import learning_rate


@pytest.mark.parametrize(
    ("decay", "step", "expected"),
    [
        ("cosine", 0, 0.1), ("cosine", 9, 1.0), ("cosine", 10, 1.0), ("cosine", 55, 0.5),
        ("linear", 55, 0.5), ("linear", 99, 1 / 90), ("constant", 99, 1.0),
    ],
)  # fmt: skip
def test_known_rates(decay: str, step: int, expected: float) -> None:
    config = ScheduleConfig(peak=1.0, decay=Decay(decay), warmup_ratio=0.1)
    assert learning_rate(config, step, 100) == pytest.approx(expected)


def test_the_paper_warms_up_for_411_of_13672_steps() -> None:
    config = ScheduleConfig()
    assert learning_rate(config, 410, 13_672) == 1e-6
    assert learning_rate(config, 409, 13_672) < 1e-6
    assert learning_rate(config, 13_671, 13_672) < 1e-13


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(Decay)))
def test_never_above_the_peak_nor_below_the_floor(steps, warmup, floor, decay) -> None:
    config = ScheduleConfig(peak=1.0, decay=decay, warmup_ratio=warmup, floor_ratio=floor)
    rates = [learning_rate(config, step, steps) for step in range(steps)]
    assert all(0 < rate <= 1 + 1e-12 for rate in rates) or floor == 0
    after = rates[rates.index(max(rates)) :]
    assert all(a >= b - 1e-12 for a, b in pairwise(after))
    assert min(after) >= floor - 1e-12
