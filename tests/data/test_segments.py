"""Algorithm 1 and the cases it is silent on."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data import segments, sentences
from fullcontext.data.segments import accumulate, paragraphs
from fullcontext.data.tokens import Encoder
from fullcontext.records import Document
from tests.data.tokenizers import family

lengths = st.lists(st.integers(1, 300), max_size=30)


@given(lengths, st.integers(1, 200))
def test_groups_partition_and_reach_the_size(given: list[int], least: int) -> None:
    groups = accumulate(given, least)
    if sum(given) < least:
        assert groups == []
        return
    assert [i for a, b in groups for i in range(a, b)] == list(range(len(given)))
    assert all(sum(given[a:b]) >= least for a, b in groups)


def test_a_short_tail_joins_the_last_segment() -> None:
    assert accumulate([60, 80, 50, 90, 20], 128) == [(0, 2), (2, 5)]


def test_too_little_text_is_no_segment() -> None:
    assert accumulate([60, 60], 128) == []


def test_indented_lines_go_on_and_blank_ones_go() -> None:
    assert paragraphs("\n  a\nb:\n    c\n\n    d \r\ne") == ["a", "b:\n    c\n    d", "e"]


@given(st.text())
def test_paragraphs_start_and_end_with_something(text: str) -> None:
    for paragraph in paragraphs(text):
        assert paragraph and not paragraph[0].isspace() and not paragraph[-1].isspace()


def test_the_papers_segment_statistics() -> None:
    """600-token documents of newline paragraphs, at 128: 176 tokens a segment, most with two."""
    draw = np.random.default_rng(0)
    groups, enough = [], 0
    for _ in range(3000):
        sizes = []
        while sum(sizes) < 600 * draw.lognormal(-0.08, 0.4):
            sizes.append(int(draw.integers(20, 90)))
        found = accumulate(sizes, 128)
        groups += [sum(sizes[a:b]) for a, b in found]
        enough += len(found) >= 2
    assert 165 < np.mean(groups) < 190 and enough / 3000 > 0.75


def _texts(text: str, size: int = 8, text_tokens: int | None = None):
    dropped: Counter[str] = Counter()
    encoder = Encoder(family("sentencepiece"))
    document = Document("d", text, "here", "none", "d")
    found = list(
        segments.texts(
            document, encoder, segment_size=size, text_tokens=text_tokens, separator="\n",
            dropped=dropped,
        )
    )  # fmt: skip
    return found, dropped, encoder


def test_segments_hold_the_tokens_of_their_text() -> None:
    found, _, encoder = _texts("One two three four five.\nSix seven eight nine.\nTen.\n" * 5)
    for _, pieces in found:
        for piece in pieces:
            assert np.array_equal(piece.tokens, encoder.encode(piece.text + "\n"))
            assert len(piece.tokens) >= 8


def test_what_is_dropped_is_counted() -> None:
    assert _texts("Too short.")[1] == {"text shorter than a segment": 1}
    text = "A line that holds </s> in it.\n" + "Some other words stand here.\n" * 3
    found, dropped, _ = _texts(text)
    assert dropped == {"paragraph holds a special token": 1}
    assert "</s>" not in found[0][0].text


def test_a_huge_paragraph_is_split_at_sentences_and_loses_no_word() -> None:
    text = " ".join(f"This is sentence number {i} of a long one." for i in range(40))
    found, dropped, _ = _texts(text)
    assert dropped == {"long paragraph split at sentences (kept)": 1}
    assert found[0][0].text.split() == text.split() and len(found[0][1]) > 5


def test_long_documents_become_texts_of_the_wanted_size() -> None:
    text = "\n".join(f"Paragraph {i} has some nine or ten tokens." for i in range(60))
    found, _, _ = _texts(text, text_tokens=100)
    sizes = [sum(len(p.tokens) for p in pieces) for _, pieces in found]
    assert len(found) > 3 and all(100 <= size < 220 for size in sizes)
    assert {pieces[0].parent for _, pieces in found} == {"d"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is so. Mr. Hay said it. U. S. ships came.", 3),
        ("One figure is 3.5 percent. The other is not.", 2),
    ],
)
def test_sentences_end_where_they_end(text: str, expected: int) -> None:
    assert len(sentences.split(text)) == expected
    assert " ".join(sentences.split(text)) == text
