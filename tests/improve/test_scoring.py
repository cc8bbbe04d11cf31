"""MBR is the published formula, in whatever order outputs come; pairs are what they should be."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from fullcontext.config import Match, Selector
from fullcontext.improve import scoring
from fullcontext.improve.accounts import diagnostics
from fullcontext.improve.embedding import mean_products
from fullcontext.improve.pairing import Chosen, Output, Outputs, pair
from fullcontext.improve.rouge import rouge_l
from fullcontext.improve.squad import right, token_f1, usable

EMBEDDINGS = np.array([[1.0, 0, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
"""Of the published code's golden case."""
words = st.lists(st.sampled_from(["a", "cat", "sat", "mat", "42", "The"]), max_size=8).map(" ".join)


def test_scores_order_and_pool_are_those_of_the_published_code() -> None:
    scores = mean_products(EMBEDDINGS)
    assert scores == pytest.approx([0.6, 0.69, 0.64, 0.25])
    order = scoring.ascending(scores, list("abcd"), 0, "q")
    assert order == [3, 0, 2, 1] and scoring.worse_half(order) == [3, 0]


@given(words, words)
def test_rouge_l_is_that_of_rouge_score(one: str, other: str) -> None:
    expected = RougeScorer(["rougeL"]).score(one, other)["rougeL"].fmeasure
    assert rouge_l(one, other) == pytest.approx(expected)


def test_rouge_l_counts_words_of_any_script() -> None:
    """LCS 2 of 3 and 3 words: 2 * 2 / 6."""
    assert rouge_l("кот сидит тут", "кот сидит там") == pytest.approx(2 / 3)


def test_token_f1_is_squads() -> None:
    """Without articles and signs: {big, cat} against {cat}: 2 * 1 / 3."""
    assert token_f1("The big cat!", "a cat") == pytest.approx(2 / 3)


def scored(texts: list[str], golds: tuple[str, ...] = ("cat",)) -> Outputs:
    scores = scoring.bayes(scoring.utilities(texts, rouge_l))
    outputs = tuple(Output(text, len(text)) for text in texts)
    return Outputs("q", outputs, tuple(scores), golds)


@given(st.lists(words.filter(bool), min_size=1, max_size=7), st.randoms(), st.sampled_from(
    [Selector.mbr, Selector.random, Selector.oracle]
))  # fmt: skip
def test_the_order_of_outputs_changes_no_pair(texts: list[str], mixer, selector: Selector) -> None:
    mixed = list(texts)
    mixer.shuffle(mixed)
    pairs = [pair(scored(each), selector, Match.substring, 7) for each in (texts, mixed)]
    said = [
        each if isinstance(each, str) else (each.better.text, each.worse.text) for each in pairs
    ]
    assert said[0] == said[1]


@given(st.lists(words.filter(bool), min_size=1, max_size=7), st.integers(0, 3))
def test_a_rejected_output_is_never_the_chosen_one(texts: list[str], seed: int) -> None:
    found = pair(scored(texts), Selector.mbr, Match.substring, seed)
    if isinstance(found, Chosen):
        assert found.better.text != found.worse.text
        assert found.worse_score <= found.better_score
    else:
        assert len(set(texts)) == 1


def test_what_has_no_pair_says_why() -> None:
    def reason(*texts: str) -> object:
        return pair(scored(list(texts)), Selector.mbr, Match.substring, 0)

    assert reason("cat") == "only one output"
    assert reason("cat", "cat") == "all outputs agree"


def test_the_output_that_agrees_most_is_chosen_and_the_odd_one_rejected() -> None:
    """cat, cat, dog: each cat stands for 2 of 3, the dog for itself."""
    found = pair(scored(["cat", "dog", "cat"]), Selector.mbr, Match.substring, 0)
    assert isinstance(found, Chosen)
    assert (found.better.text, found.worse.text) == ("cat", "dog")
    assert (found.better_score, found.worse_score) == pytest.approx((2 / 3, 1 / 3))


def test_the_oracle_takes_a_right_output_against_the_majority() -> None:
    found = pair(scored(["dog", "dog", "a cat"]), Selector.oracle, Match.substring, 0)
    assert isinstance(found, Chosen) and found.better.text == "a cat"


def test_an_output_that_was_cut_may_be_rejected_but_not_chosen() -> None:
    made = scored(["cat one", "cat one", "cat two"])
    cut = tuple(Output(o.text, o.tokens, o.text != "cat one") for o in made.outputs)
    found = pair(Outputs("q", cut, made.scores, made.golds), Selector.mbr, Match.substring, 0)
    assert isinstance(found, Chosen) and found.better.text == "cat two"


def test_a_substring_is_right_and_an_empty_gold_answer_is_refused() -> None:
    assert right("It is the Cat, surely.", ["a cat"]) == 1
    assert right("It is the cat", ["a cat"], Match.exact) == 0
    assert right("dog", ["cat", "dog"]) == 1
    assert usable(["the", "cat"]) == ("cat",)
    with pytest.raises(ValueError, match="empty once articles"):
        right("anything", ["The"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms())
def test_sums_are_the_same_in_any_order(values: list[float], mixer) -> None:
    mixed = list(values)
    mixer.shuffle(mixed)
    assert scoring.bayes(np.array([values])) == scoring.bayes(np.array([mixed]))
    assert math.isfinite(scoring.bayes(np.array([values]))[0])


def test_pairs_whose_scores_do_not_prefer_the_chosen_output_are_counted() -> None:
    """cat and dog tie; then the better of two thirds is cut, and the odd one chosen."""
    tie = scored(["cat", "dog"])
    made = scored(["cat one", "cat one", "cat two"])
    cut = tuple(Output(o.text, o.tokens, o.text != "cat one") for o in made.outputs)
    given = [
        replace(tie, id="tie"),
        Outputs("cut", cut, made.scores, made.golds),
        replace(scored(["cat", "cat", "dog"]), id="clear"),
    ]
    pairs = {each.id: pair(each, Selector.mbr, Match.substring, 0) for each in given}
    found = diagnostics(given, pairs, Match.substring, 0)
    assert found["scores"] == {"equal": 1, "rejected_higher": 1}
