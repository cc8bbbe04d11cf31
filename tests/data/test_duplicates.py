"""A question is asked once, whatever its punctuation, and nearly the same one too if wanted."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.config import Duplicates, FiltersConfig
from fullcontext.data.duplicates import FOUND, Seen, rows_of

WORDS = [f"word{i}" for i in range(5000)]


def seen(kind: str, similarity: float = 0.8) -> Seen:
    return Seen(FiltersConfig(duplicates=Duplicates(kind), near_similarity=similarity))


@pytest.mark.parametrize("kind", ["exact", "near"])
def test_the_same_words_are_an_exact_duplicate(kind: str) -> None:
    known = seen(kind)
    assert known.known("Who wrote it?", "Jane Doe.") is None
    assert known.known('who WROTE\n"it"', "Jane, Doe") == "exact duplicate"
    assert known.known("Who wrote it?", "John Smith") is None


def test_where_the_question_ends_counts() -> None:
    known = seen("exact")
    assert known.known("Who wrote it?", "Jane Doe") is None
    assert known.known("Who wrote it Jane?", "Doe") is None


def test_off_knows_nothing() -> None:
    known = seen("off")
    assert [known.known("Who?", "I") for _ in range(2)] == [None, None]


def altered(words: list[str], changes: int) -> str:
    return " ".join(["other" if i < changes else word for i, word in enumerate(words)])


def test_one_word_of_forty_makes_a_near_duplicate_and_a_third_of_them_does_not() -> None:
    draw = random.Random(0)
    for _ in range(50):
        known = seen("near")
        words = draw.choices(WORDS, k=40)
        assert known.known(altered(words, 0), "yes") is None
        assert known.known(altered(words, 1), "yes") == "near duplicate"
        assert known.known(altered(words, 13), "yes") is None


def test_near_duplicates_are_found_among_thousands_and_strangers_are_none() -> None:
    draw, known = random.Random(1), seen("near")
    questions = [draw.choices(WORDS, k=40) for _ in range(2000)]
    assert all(known.known(" ".join(q), "yes") is None for q in questions)
    found = [known.known(altered(q, 2), "yes") for q in questions]
    assert found.count("near duplicate") > FOUND * len(found)


def test_a_near_duplicate_is_measured_against_what_was_kept() -> None:
    words = WORDS[:40]
    known = seen("near")
    steps = [altered(words, 2 * n) for n in range(6)]
    kept = [n for n, step in enumerate(steps) if known.known(step, "yes") is None]
    assert kept[0] == 0 and 1 < len(kept) < 6


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=30))
def test_exact_duplicates_are_those_of_a_set(asked: list[tuple[str, str]]) -> None:
    known, before = seen("exact"), set()
    for question, answer in asked:
        assert (known.known(question, answer) is not None) == ((question, answer) in before)
        before.add((question, answer))


def test_bands_are_as_long_as_the_similarity_allows() -> None:
    assert [rows_of(s) for s in (0.1, 0.5, 0.8, 0.9, 1.0)] == [1, 2, 6, 9, 16]


def test_the_shortest_questions_have_a_signature() -> None:
    known = seen("near")
    assert [known.known(q, "") for q in ("", "why", "why not", "why")] == [
        None, None, None, "exact duplicate"
    ]  # fmt: skip
