"""The sampler is arithmetic: exact ratios in every prefix, every question once a pass."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data.sampler import Sampler

PAPER = {"fine_grained": 0.63, "integration": 0.17, "short_context": 0.09, "instruction": 0.11}
POOLS = {"fine_grained": 63, "integration": 17, "short_context": 9, "instruction": 11}


@given(st.integers(0, 10_000_000))
def test_any_prefix_holds_the_ratios_to_within_one_example(examples: int) -> None:
    counts = Sampler(PAPER, POOLS, 0).counts(examples)
    assert sum(counts.values()) == examples
    for kind, ratio in PAPER.items():
        assert abs(counts[kind] - examples * ratio) < 1


def test_one_pass_asks_every_question_once() -> None:
    sampler = Sampler(PAPER, POOLS, 3)
    first = Counter(sampler.pick(i) for i in range(100))
    assert first == Counter((kind, place) for kind, n in POOLS.items() for place in range(n))
    second = [sampler.pick(i) for i in range(100, 200)]
    assert Counter(second) == first
    assert second != [sampler.pick(i) for i in range(100)]


@given(st.integers(0, 1_000_000))
def test_the_draw_is_counted_in_constant_time(index: int) -> None:
    sampler = Sampler(PAPER, POOLS, 0)
    kind, count = sampler.draw(index)
    assert count == sampler.counts(index)[kind]


def test_seeds_give_other_orders() -> None:
    a, b = (Sampler(PAPER, POOLS, seed) for seed in (0, 1))
    assert [a.pick(i) for i in range(50)] != [b.pick(i) for i in range(50)]


@pytest.mark.parametrize("mixture", [{"a": 1.0}, {"a": 0.3333, "b": 0.6667}, {"a": 1.0, "b": 0.0}])
def test_odd_mixtures_work(mixture: dict[str, float]) -> None:
    sampler = Sampler(mixture, {"a": 5, "b": 7}, 0)
    counts = sampler.counts(30_000)
    assert counts["a"] == round(30_000 * mixture["a"])


def test_ratios_with_many_digits_are_rounded_not_exploded() -> None:
    mixture = {"a": 0.628104836407, "b": 0.171302, "c": 0.200593163593}
    sampler = Sampler(mixture, dict.fromkeys(mixture, 10), 0)
    assert sampler.period <= 10_000
    counts = sampler.counts(1_000_000)
    assert all(abs(counts[kind] / 1e6 - ratio) < 1e-4 for kind, ratio in mixture.items())
