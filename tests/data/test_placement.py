"""Every placement puts every piece somewhere, once, and where it says."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import compose_verb
from fullcontext.config import EvidenceOrder, Placement
from fullcontext.data.placement import ranks
from fullcontext.randomness import rng

DATA = compose_verb("train", ["data=in2_laptop", "model=tiny"]).data


def placed(placement: str, **more):
    return replace(DATA, placement=Placement(placement), **more)


def rank(placement: str, fillers: int, turn: int, generator, **more) -> int:
    return ranks(placed(placement, **more), [1], fillers, [turn], generator)[0][0]


@given(
    st.sampled_from(Placement),
    st.sampled_from(EvidenceOrder),
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.integers(0, 40),
    st.integers(0, 99),
)
def test_ranks_are_distinct_and_inside(placement, order, pieces, fillers, seed) -> None:
    config = placed(placement, evidence_order=order)
    found = ranks(config, pieces, fillers, range(len(pieces)), rng(seed, "test"))
    every = [r for own in found for r in own]
    assert [len(own) for own in found] == pieces
    assert len(set(every)) == len(every) and all(0 <= r < sum(pieces) + fillers for r in every)
    if order is EvidenceOrder.kept:
        assert all(own == sorted(own) for own in found)


@pytest.mark.parametrize(("placement", "expected"), [("head", 0), ("tail", 20), ("middle", 10)])
def test_one_piece_among_twenty_is_where_the_placement_says(placement, expected) -> None:
    assert rank(placement, 20, 0, rng(0, "test")) == expected


def test_several_questions_at_one_end_stand_side_by_side() -> None:
    head = ranks(placed("head"), [1, 2], 7, [0, 1], rng(0, "test"))
    tail = ranks(placed("tail"), [1, 2], 7, [0, 1], rng(0, "test"))
    assert sorted(head[0] + head[1]) == [0, 1, 2]
    assert sorted(tail[0] + tail[1]) == [7, 8, 9]


def test_ends_are_both_ends_and_stratified_covers_every_bin() -> None:
    draw = rng(0, "test")
    ends = [rank("ends", 20, i, draw) for i in range(200)]
    assert set(ends) == {0, 20} and 60 < ends.count(0) < 140
    spread = [rank("stratified", 99, i, draw) // 10 for i in range(100)]
    assert Counter(spread) == dict.fromkeys(range(10), 10)


def test_stratified_gives_each_of_several_questions_its_own_bin() -> None:
    found = ranks(placed("stratified"), [1] * 10, 90, range(10), rng(0, "test"))
    assert [own[0] // 10 for own in found] == list(range(10))


def test_shuffle_makes_every_order_equally_likely() -> None:
    draw = rng(0, "test")
    seen = Counter(tuple(ranks(placed("shuffle"), [2], 2, [0], draw)[0]) for _ in range(6000))
    assert len(seen) == 12 and all(420 < count < 580 for count in seen.values())
