"""The accounts add up, survive a checkpoint, and test what was asked for."""

import numpy as np
import pytest

from fullcontext.data.accounts import Tally
from fullcontext.records import Asked, Example
from tests.data.test_exact import mixture


@pytest.fixture(scope="module")
def tallied():
    drawn = mixture("sentencepiece", questions_per_context=2)
    tally = Tally(drawn.config)
    batches = [drawn.batch(step) for step in range(40)]
    for batch in batches:
        tally.add(batch)
    return drawn, tally, [example for batch in batches for example in batch]


@pytest.mark.parametrize("amounts", ["kinds", "sources", "lengths", "depths", "evidence"])
def test_every_division_adds_up_to_the_same(tallied, amounts) -> None:
    _, tally, examples = tallied
    totals = {
        name: sum(each[name] for each in getattr(tally, amounts).values())
        for name in ("examples", "tokens", "supervised_tokens")
    }
    assert totals == {
        "examples": 640,
        "tokens": sum(e.tokens for e in examples),
        "supervised_tokens": sum(e.supervised for e in examples),
    }


def test_realised_lengths_and_depths_pass_their_tests(tallied) -> None:
    drawn, tally, examples = tallied
    report = tally.report(drawn, 40)
    for what in ("length", "depth"):
        assert report[what]["p_value"] > 0.001 and report[what]["ks_p_value"] > 0.001
    assert sum(report["length"]["realised"]) == sum(e.requested is not None for e in examples)
    assert sum(report["answer_length"]["realised"]) == 640
    assert report["sources"]["fine_grained"]["examples"] == 256


def test_evidence_at_the_head_does_not_pass_for_shuffled(tallied) -> None:
    drawn = tallied[0]
    tally = Tally(drawn.config)
    head = mixture("sentencepiece", placement="head")
    for step in range(20):
        tally.add(head.batch(step))
    report = tally.report(drawn, 20)["depth"]
    assert report["p_value"] < 1e-6 and report["ks_p_value"] < 1e-6


def test_a_tally_goes_on_where_its_checkpoint_was_written(tallied) -> None:
    drawn, tally, _ = tallied
    again = Tally(drawn.config, **tally.state())
    assert again.report(drawn, 40) == tally.report(drawn, 40)


def test_the_tokens_of_a_shared_context_are_divided(tallied) -> None:
    ids = np.arange(5, dtype=np.int32)
    asked = [
        Asked(str(i), kind, ids[:2], ids[:1], depth=0.5, evidence=1, source="x")
        for i, kind in enumerate(("fine_grained", "integration"))
    ]
    tally = Tally(tallied[0].config)
    tally.add([Example(0, ids, tuple(asked), 900, 2, 3)])
    tokens = {kind: amounts["tokens"] for kind, amounts in tally.kinds.items()}
    assert tokens == {"fine_grained": 3 + 3, "integration": 2 + 3}
