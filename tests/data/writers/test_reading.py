"""Replies of models are read in the forms they really take; what is not there is not guessed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data.writers import Reply
from fullcontext.data.writers.reading import read

GOOD = {"question": "Who built it?", "answer": "Ada did.", "pieces": [3, 1]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        "Sure! Here it is:\n```json\n" + json.dumps(GOOD, indent=2) + "\n```\nAnything else?",
        'Notes {not json}: {"Question": "Who built it?", "Answer": "Ada did.", "Evidence": "1, 3"}',
        json.dumps({"result": GOOD}),
        json.dumps({"items": [GOOD]}),
        json.dumps({**GOOD, "pieces": ["Piece 1", "piece 3"]}),
        "**Question:** Who built it?\n\n**Answer:** Ada did.\n\n**Pieces:** 1 and 3",
        "Question 1: Who built it?\nAnswer: Ada did.\nPieces: 1, 3, 3",
        '{"question": "Who built it?", "answer": "Ada did.", "pieces": [1, 3]',
        '{"question": "Who built it?", "pieces": [1, 3], "answer": "Ada did."',
        '{"pieces": [1, 3], "question": "Who built it?", "answer": "Ada did.',
        '{"question": "Who built it?", "pieces": [3, 1]}\n\nThe answer is: Ada did.',
        "### Question\n### question: Who built it?\n- Answer: Ada did.\n- pieces: [1, 3]",
    ],
)
def test_one_reply_in_many_forms(text: str) -> None:
    assert read(text, 3, names_pieces=True) == Reply("Who built it?", "Ada did.", (0, 2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither JSON nor labelled"),
        ("I cannot help with that.", "neither JSON nor labelled"),
        ('{"question": "Who?"}', "lacks a question or an answer"),
        ('{"question": "Who?", "answer": ""}', "lacks a question or an answer"),
        ('{"question": "Who?", "answer": "Ada"}', "names no pieces"),
        ('{"question": "Who?", "answer": "Ada", "pieces": [4]}', "a piece that was not given"),
        ('{"question": "Who?", "answer": "Ada", "pieces": [0, 1]}', "a piece that was not given"),
        ('{"question": "Who?", "answer": "Ada", "pieces": [-1]}', "a piece that was not given"),
        ('{"question": "Who?", "answer": "Ada", "pieces": true}', "names no pieces"),
        ("{" * 30_000, "too long"),
        ("x" * 10_000_000, "too long"),
        ("{" * 19_000, "neither JSON nor labelled"),
    ],
)
def test_what_cannot_be_used_has_a_reason(text: str, reason: str) -> None:
    found = read(text, 3, names_pieces=True)
    assert isinstance(found, str) and reason in found


def test_a_reply_that_was_cut_is_not_made_up_for() -> None:
    text = '{"question": "Who built it?", "answer": "Ad'
    assert read(text, 1, names_pieces=False, whole=False) == "reply is neither JSON nor labelled"
    assert read(text, 1, names_pieces=False) == Reply("Who built it?", "Ad", (0,))


def test_a_fine_grained_reply_rests_on_its_one_segment_and_an_instruction_on_none() -> None:
    text = '{"question": "Who?", "answer": 1912}'
    assert read(text, 1, names_pieces=False) == Reply("Who?", "1912", (0,))
    assert read(text, 0, names_pieces=False) == Reply("Who?", "1912", ())


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(read(text, 3, names_pieces=True), Reply | str)


@given(st.text(min_size=1), st.text(min_size=1), st.sets(st.integers(1, 9), min_size=1))
def test_json_is_read_back(question: str, answer: str, pieces: set[int]) -> None:
    text = json.dumps({"question": question, "answer": answer, "pieces": sorted(pieces)})
    found = read(text, 9, names_pieces=True)
    if question.strip() and answer.strip():
        wanted = tuple(sorted(piece - 1 for piece in pieces))
        assert found == Reply(question.strip(), answer.strip(), wanted)
    else:
        assert isinstance(found, str)
