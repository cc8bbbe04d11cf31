"""Answers are scored as published, and by formulas that other packages or all orders confirm."""

import itertools
import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from fullcontext.adapt import metrics
from fullcontext.adapt.answering import OTHERS
from fullcontext.adapt.literals import literal
from fullcontext.adapt.metrics import DEVIATIONS, deviations, most_deviations, scores, table
from fullcontext.config import Mode, expected

words = st.lists(st.sampled_from(["a", "cat", "sat", "mat", "42", "The"]), max_size=8).map(" ".join)
ROMAN = ["I", "II", "III", "IV", "V", "VI"]


def test_text_is_compared_in_squads_normal_form() -> None:
    found = scores("short", "It was the Big Cat.", ["big cat", "dog"])
    assert (found["exact"], found["sub_em"]) == (0, 1)
    assert found["f1"] == pytest.approx(2 * 2 / (4 + 2))
    assert scores("short", "The big cat!", ["a big cat"])["exact"] == 1


def test_a_gold_answer_of_articles_alone_has_no_match_and_does_not_count_as_right() -> None:
    found = scores("short", "The", ["The"])
    assert [found[name] for name in ("exact", "sub_em", "f1")] == [None, None, None]
    assert found["bleu_1"] == 1


def test_without_a_gold_answer_there_is_no_score() -> None:
    assert scores("", "anything", []) == {}


def test_figures_may_be_expected_of_every_score_and_of_no_other() -> None:
    golds = {"short": "a", "cloze": '{"<mask-0>": "A"}', "timeline": "I,II"}
    found = {name for kind, gold in golds.items() for name in scores(kind, "a", [gold])}
    assert {*found, "meteor", "bertscore_precision", "bertscore_recall", "judge"} - {
        "masks"
    } == set(expected.SCORES)
    assert {*Mode, OTHERS} == set(expected.MODES)


def test_bleu_is_of_one_order_with_brevity_penalty_and_no_smoothing() -> None:
    """Six words of which five are in the gold ones, and one run of four; a reply of 4 words of 6 is
    short by exp(1 - 6 / 4)."""
    gold = "the cat sat on the mat"
    assert metrics.bleu(gold, "the cat sat on the rug", 1) == pytest.approx(5 / 6)
    assert metrics.bleu(gold, "the cat sat on the rug", 4) == pytest.approx(2 / 3)
    assert metrics.bleu(gold, "the cat sat on", 4) == pytest.approx(math.exp(-0.5))
    assert metrics.bleu(gold, "the the the", 1) == pytest.approx(2 / 3 * math.exp(-1))
    assert metrics.bleu(gold, "cat mat", 4) == metrics.bleu(gold, "", 1) == 0


@given(words, words)
def test_bleu_is_that_of_nltk_with_loogles_weights(gold: str, reply: str) -> None:
    from nltk.translate import bleu_score

    for order, weights in ((1, (1, 0, 0, 0)), (4, (0, 0, 0, 1))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing matches
            expected = bleu_score.sentence_bleu([gold.split()], reply.split(), weights=weights)
        assert metrics.bleu(gold, reply, order) == pytest.approx(expected, abs=1e-9)


@given(words, words)
def test_rouge_recall_is_that_of_rouge_score(gold: str, reply: str) -> None:
    expected = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(gold, reply)
    found = [metrics.rouge_recall(gold, reply, order) for order in (1, 2)]
    found.append(metrics.rouge_l_recall(gold, reply))
    assert found == pytest.approx([expected[n].recall for n in ("rouge1", "rouge2", "rougeL")])


def test_of_several_gold_answers_the_best_counts() -> None:
    found = scores("short", "red house", ["blue", "red house"])
    assert found["exact"] == found["f1"] == found["bleu_1"] == found["rouge_2_recall"] == 1


MASKS = '{"<mask-0>": "Tank", "<mask-1>": "JoAnn Fabrics", "<mask-2>": "Meg"}'


def test_a_cloze_is_held_against_its_masks() -> None:
    """Tank is exact; Fabrics is a word of a name; meg has another case."""
    reply = "Here: {'<mask-0>': 'Tank', '<mask-1>': 'Fabrics', '<mask-2>': 'meg'} I hope."
    assert scores("cloze", reply, [MASKS]) == {
        "cloze_exact": pytest.approx(1 / 3), "cloze_partial": pytest.approx(2 / 3),
        "readable": 1, "masks": 3,
    }  # fmt: skip
    assert scores("cloze", MASKS, [MASKS])["cloze_exact"] == 1


@pytest.mark.parametrize(
    "reply",
    [
        "Tank, JoAnn Fabrics and Meg",
        "{'<mask-0>': open('x', 'w')}",
        '{"<mask-0>": __import__("os").abort()}',
        "{'<mask-0>'}",
        "}{",
        "{" * 10_000 + "}",
        "",
    ],
)
def test_a_cloze_that_is_no_dict_fills_in_nothing_and_is_never_run(reply: str) -> None:
    found = scores("cloze", reply, [MASKS])
    assert (found["cloze_exact"], found["cloze_partial"], found["readable"]) == (0, 0, 0)


def test_a_literal_is_data_or_refused() -> None:
    assert literal("[{'Q': \"it's\"}]") == literal('[{"Q": "it\'s"}]') == [{"Q": "it's"}]
    for text in ("__import__('os')", "1 +", "[x]", "\x00"):
        with pytest.raises(ValueError, match="neither JSON nor a Python literal"):
            literal(text)


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        ("I II III IV", "IV III II I", (5.0, 2.0, 2, 4)),
        ("II I IV III", "I II III IV", (1.0, 1.0, 2, 2)),
        ("I II III IV V", "V I IV II III", (5.2, 2.0, 4, 5)),
    ],
)
def test_deviations_are_those_of_the_published_code(gold: str, said: str, expected) -> None:
    found = deviations(gold.split(), said.split())
    assert tuple(found[name] for name in DEVIATIONS) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (3, (8 / 3, 4 / 3, 2, 2)),
        (4, (5.0, 2.0, 3, 4)),
        (5, (8.0, 2.4, 4, 6)),
        (6, (35 / 3, 3.0, 5, 9)),
    ],
)
def test_the_greatest_deviations_are_the_published_ones_and_those_of_all_orders(
    length: int, expected: tuple[float, ...]
) -> None:
    most = most_deviations(length)
    assert tuple(most[name] for name in DEVIATIONS) == pytest.approx(expected)
    orders = itertools.permutations(ROMAN[:length])
    every = [deviations(ROMAN[:length], order) for order in orders]
    for name in DEVIATIONS:
        assert max(each[name] for each in every) == pytest.approx(most[name])
    assert all(each["sdd"] / most["sdd"] == pytest.approx(each["lmd"] / most["lmd"])
               for each in every)  # fmt: skip


def test_swap_distance_is_that_of_the_swaps_that_gain_most() -> None:
    """As the published code finds it, of all orders of up to six items: the swap with the most gain
    for its distance, again and again."""
    for length in range(2, 7):
        for places in itertools.permutations(range(length)):
            said = sorted(range(length), key=places.__getitem__)
            found = deviations([str(i) for i in range(length)], [str(i) for i in said])
            assert found["sdd"] == swapped(list(places)), places


def swapped(order: list[int]) -> int:
    """Places between the swapped, summed."""
    spent = 0
    while order != sorted(order):
        gains = {}
        for i, j in itertools.combinations(range(len(order)), 2):
            before = abs(order[i] - i) + abs(order[j] - j)
            gains[i, j] = (before - abs(order[j] - i) - abs(order[i] - j)) / (j - i)
        i, j = max(gains, key=gains.__getitem__)
        order[i], order[j] = order[j], order[i]
        spent += j - i
    return spent


def test_a_right_order_has_no_deviation_and_a_reversed_one_the_greatest_of_location() -> None:
    gold = "III,I,II,IV"
    right = scores("timeline", "III. First.\nI. Then.\nII. Next.\nIV. Last.", [gold])
    assert right == {"exact": 1, "readable": 1, "lsd": 0, "lmd": 0, "sd": 0, "sdd": 0}
    turned = scores("timeline", "IV, II, I, III", [gold])
    assert turned["exact"] == 0
    assert [turned[name] for name in DEVIATIONS] == pytest.approx([1, 1, 2 / 3, 1])


def test_an_order_is_found_among_other_numerals_but_never_guessed() -> None:
    reply = "I think that it is II, I, III: King Juan Carlos I opened the last one."
    assert scores("timeline", reply, ["II,I,III"])["exact"] == 1
    for reply in ("II, III", "I, I, II", "", "two, one, three", "II, I, IV"):
        found = scores("timeline", reply, ["II,I,III"])
        assert (found["exact"], found["readable"]) == (0, 0)
        assert all(found[name] is None for name in DEVIATIONS)


def test_a_gold_order_that_is_none_is_no_score() -> None:
    for gold in ("in 1936", "I", "I,II,I"):
        assert set(scores("timeline", "I,II", [gold]).values()) == {None}


def test_a_table_has_means_by_kind_and_says_how_many_have_none() -> None:
    rows = [
        ("timeline", {"exact": 0.0, "lsd": None}),
        ("timeline", {"exact": 1.0, "lsd": 0.5}),
        ("computation", {"exact": 1.0, "judge": None}),
        ("short", {"exact": 0.0, "judge": 1.0}),
    ]
    found = table(rows)
    assert list(found) == ["all", "long", "timeline", "computation", "short"]
    assert found["timeline"]["lsd"] == {"mean": 0.5, "questions": 1, "without": 1}
    assert found["long"]["exact"] == {"mean": pytest.approx(2 / 3), "questions": 3, "without": 0}
    assert found["computation"]["judge"] == {"mean": None, "questions": 0, "without": 1}
    assert found["all"]["judge"] == {"mean": 1.0, "questions": 1, "without": 1}
    assert table([]) == {}


def test_shares_of_masks_are_of_all_masks_not_of_questions() -> None:
    """One of one and none of three: 1/4; both replies count the same for being readable."""
    rows = [
        ("cloze", {"cloze_exact": 1.0, "readable": 1.0, "masks": 1.0}),
        ("cloze", {"cloze_exact": 0.0, "readable": 0.0, "masks": 3.0}),
    ]
    found = table(rows)["cloze"]
    assert set(found) == {"cloze_exact", "readable"}
    assert (found["cloze_exact"]["mean"], found["readable"]["mean"]) == (0.25, 0.5)


def test_questions_of_no_kind_are_in_the_table_of_all() -> None:
    assert table([("", {"exact": 1.0})]) == {
        "all": {"exact": {"mean": 1.0, "questions": 1, "without": 0}}
    }
