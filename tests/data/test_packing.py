"""Rows without padding; micro-batches that fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data.packing import cost, pack, plan
from fullcontext.records import IGNORE, Asked, Block, Example, Span


def example(context: int, *questions: tuple[int, int], first: int = 100) -> Example:
    draw = iter(range(first, first + 10_000))
    take = lambda n: np.array([next(draw) for _ in range(n)], np.int32)  # noqa: E731
    return Example(
        0,
        take(context),
        tuple(
            Asked(id=str(i), kind="x", prompt=take(p), answer=take(a))
            for i, (p, a) in enumerate(questions)
        ),
    )


def test_the_picture_of_the_docstring() -> None:
    row = pack([example(4, (2, 2), (1, 2)), example(0, (2, 2))])
    assert row.position_ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 0, 1, 2, 3]
    assert row.blocks == (
        Block(Span(0, 4), None),
        Block(Span(4, 8), Span(0, 4)),
        Block(Span(8, 11), Span(0, 4)),
        Block(Span(11, 15), None),
    )
    assert row.labels.tolist() == [
        *[IGNORE] * 5, 106, 107, IGNORE, 109, 110, IGNORE, IGNORE, 102, 103, IGNORE
    ]  # fmt: skip
    assert row.label_questions.tolist() == [0, 0, 1, 1, 2, 2]


shapes = st.tuples(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4),
)


@given(st.lists(shapes, min_size=1, max_size=6))
def test_a_row_holds_every_token_once_and_predicts_the_next(given) -> None:
    examples = [example(context, *questions) for context, questions in given]
    row = pack(examples)
    assert len(row.input_ids) == sum(e.tokens for e in examples)
    covered = [t for block in row.blocks for t in range(*block.queries)]
    assert covered == list(range(len(row.input_ids)))
    at = np.flatnonzero(row.labels != IGNORE)
    assert np.array_equal(row.labels[at], row.input_ids[at + 1])
    assert len(at) == sum(e.supervised for e in examples) == len(row.label_questions)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.integers(100, 400))
def test_micro_batches_hold_every_example_once_and_fit(lengths: list[int], most: int) -> None:
    examples = [example(n, (1, 1)) for n in lengths if n + 2 <= most] or [example(1, (1, 1))]
    bins = plan(examples, most)
    assert sorted(i for indices in bins for i in indices) == list(range(len(examples)))
    assert all(sum(examples[i].tokens for i in indices) <= most for indices in bins)


def test_micro_batches_cost_about_the_same() -> None:
    draw = np.random.default_rng(0)
    examples = [example(int(n), (1, 1)) for n in draw.integers(400, 3200, 64)]
    loads = [sum(cost(examples[i]) for i in indices) for indices in plan(examples, 12_000)]
    assert max(loads) / np.mean(loads) < 1.06


def test_an_example_longer_than_max_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="102 tokens, more than max_tokens=100"):
        plan([example(100, (1, 1))], 100)
