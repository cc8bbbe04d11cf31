"""Words are the same however they are written, and their hashes tell them apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data import words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't PANIC-\nnow", ["don", "t", "panic", "now"]),
        ("", []),
        (" ... ", []),
        ("$1,234.5 in snake_case", ["1", "234", "5", "in", "snake", "case"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("café cafe\u0301", ["café", "café"]),
        ("inter\u00adnational zero\u200bwidth", ["international", "zerowidth"]),
        ("ﬁne ２０", ["fine", "20"]),
        ("Ελλάς ΕΛΛΆΣ", ["ελλάσ", "ελλάσ"]),
        ("ПРИВЕТ, мир", ["привет", "мир"]),
        ("İstanbul istanbul", ["istanbul", "istanbul"]),
        ("lone \ud83d half", ["lone", "half"]),
    ],
)
def test_case_punctuation_and_spelling_of_characters_do_not_count(
    text: str, found: list[str]
) -> None:
    assert words.split(text) == found


@given(st.text(max_size=200))
def test_hashed_words_stand_where_split_finds_them(text: str) -> None:
    hashed = words.hashed(text)
    found = [hashed.text[a:b] for a, b in zip(hashed.starts, hashed.stops, strict=True)]
    assert found == words.split(text)
    assert hashed.phrase(0, 3) == " ".join(found[:3])


@given(st.lists(st.text("abé1", min_size=1, max_size=5), max_size=30))
def test_hashes_are_equal_exactly_where_words_are(found: list[str]) -> None:
    hashes = words.hashed(" ".join(found)).hashes
    assert len(hashes) == len(found)
    for i in range(len(found)):
        assert (hashes == hashes[i]).tolist() == [word == found[i] for word in found]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5))
def test_grams_are_equal_exactly_where_words_in_a_row_are(codes: list[int], n: int) -> None:
    text = " ".join(f"w{code}" for code in codes)
    grams = words.grams(words.hashed(text).hashes, n).tolist()
    rows = [tuple(codes[i : i + n]) for i in range(len(codes) - n + 1)]
    assert len(grams) == len(rows)
    assert len(set(zip(grams, rows, strict=True))) == len(set(grams)) == len(set(rows))


def test_no_word_is_cut_where_a_long_text_is_hashed_in_blocks() -> None:
    block = words.BLOCK
    for first in (block - 3, block, 3 * block):
        text = "x" * first + " " + "second word " * 20000
        hashed = words.hashed(text)
        alone = words.hashed("x" * first).hashes[0]
        second, word = words.hashed("second word").hashes
        assert hashed.hashes[0] == alone and len(hashed.hashes) == 40001
        assert np.all(hashed.hashes[1::2] == second) and np.all(hashed.hashes[2::2] == word)
        assert hashed.phrase(40000, 1) == "word"


def test_hashes_are_the_same_on_every_machine() -> None:
    assert words.hashed("Lost in the middle").hashes.tolist() == [
        2460606591527531925,
        15203183703577581164,
        3112028152236673170,
        5406036064273197640,
    ]
