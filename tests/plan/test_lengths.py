"""What a plan takes a step to hold: pairs of answers, as much of them as the objective reads."""

import pytest

from fullcontext.compose import compose_verb
from fullcontext.plan import lengths
from fullcontext.plan.costs import synthesis

PAIRS = [
    "experiments=sealong_llama8b", "data.context_range=[1000,1000]", "plan.question_tokens=20",
    "plan.response_tokens=30", "batch_size=4", "data.examples.pair=40",
]  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "tokens", "supervised"),
    [
        (["objective=orpo"], 1050, 60),  # 950 of context, twice 20 of question, twice 30 of answer
        (["objective=dpo"], 1050, 60),
        (["objective=sft"], 1000, 30),
        (["objective=orpo", "objective.nll_scope=full"], 1050, 969 + 60),
    ],
)
def test_a_pair_has_its_context_once_and_the_answers_that_are_read(
    objective: list[str], tokens: int, supervised: int
) -> None:
    config = compose_verb("train", [*PAIRS, *objective])
    sampled = lengths.sample(config)
    assert sampled.steps == 10 and len(sampled.batches) == 10
    for each in sampled.batches[0]:
        assert (each.tokens, each.supervised, each.questions) == (tokens, supervised, 1)


def test_no_writer_is_asked_for_pairs() -> None:
    assert synthesis(compose_verb("train", PAIRS)).requests == 0
