"""Rows without padding; micro-batches that fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import ConfigError
from fullcontext.data.packing import Price, pack, pairs, plan
from fullcontext.records import IGNORE, Asked, Block, Example, Span


def example(context: int, *questions: tuple[int, int], first: int = 100) -> Example:
    draw = iter(range(first, first + 10_000))

    def take(n):
        return np.array([next(draw) for _ in range(n)], np.int32)

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


lengths = st.lists(st.integers(1, 100), min_size=1, max_size=40)


@given(lengths, st.integers(102, 400), st.integers(1, 5))
def test_every_example_runs_once_and_fits_and_ranks_keep_step(
    given: list[int], most: int, ranks: int
) -> None:
    examples = [example(n, (1, 1)) for n in given]
    planned = plan(examples, most, ranks)
    assert len(planned) == ranks and len({len(micros) for micros in planned}) == 1
    micros = [micro for rank in planned for micro in rank]
    assert sorted(i for micro in micros for i in micro) == list(range(len(examples)))
    assert all(sum(examples[i].tokens for i in micro) <= most for micro in micros)
    assert sum(not micro for micro in micros) == max(0, len(micros) - len(examples))
    assert planned == plan(examples, most, ranks)


@given(st.data(), lengths, st.integers(2, 4))
def test_the_order_of_examples_does_not_change_the_costs(data, given, ranks: int) -> None:
    examples = [example(n, (1, 1)) for n in given]
    mixed = data.draw(st.permutations(examples))
    costs = [
        sorted(
            sum(Price().of(there[i]) for i in micro)
            for rank in plan(there, 300, ranks)
            for micro in rank
        )
        for there in (examples, mixed)
    ]
    assert costs[0] == costs[1]


def test_one_rank_takes_the_fewest_micro_batches_alike_in_cost() -> None:
    draw = np.random.default_rng(0)
    examples = [example(int(n), (1, 1)) for n in draw.integers(400, 3200, 64)]
    (micros,) = plan(examples, 12_000)
    loads = [sum(Price().of(examples[i]) for i in indices) for indices in micros]
    assert len(micros) == -(-sum(e.tokens for e in examples) // 12_000)
    assert max(loads) / np.mean(loads) < 1.06 and loads == sorted(loads, reverse=True)


def test_a_question_sees_its_context_and_itself() -> None:
    assert pairs(example(0, (2, 1))) == 6
    assert pairs(example(4, (2, 1))) == 10 + 3 * 4 + 6
    assert pairs(example(4, (2, 1), (1, 1))) == 28 + 2 * 4 + 3
    assert Price(token=100, pair=10, label=1).of(example(4, (2, 1))) == 700 + 280 + 1


def test_an_example_longer_than_max_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match="102 tokens, more than max_tokens=100"):
        plan([example(100, (1, 1))], 100, 2)
