"""Auxiliary questions."""

from collections import Counter
from dataclasses import replace
from functools import cache

from hypothesis import given as draws
from hypothesis import strategies as st

from fullcontext.adapt import questioning
from fullcontext.adapt.documents import Given
from fullcontext.compose import compose_verb
from fullcontext.config import KeyValueDocuments

TEXT = "\n".join(
    f"In {1800 + i} the town of Number{i:02d} paid exactly {1000 + 7 * i} dollars for a bridge over"
    f" the river Stream{i:02d}."
    for i in range(40)
)
BOOK = Given("book", "book", TEXT, ())


@cache
def config(*words: str):
    return compose_verb(
        "adapt", ["model=tiny", "document=book.txt", "adapter=full", "tracking=none", *words]
    )


def test_each_question_is_about_a_run_of_sentences_of_the_document() -> None:
    wanted = questioning.passages(config("auxiliary.number=3", "auxiliary.tries=2"), BOOK)
    assert len(wanted) == 3 and all(len(tries) == 2 for tries in wanted)
    whole = TEXT.replace("\n", " ")
    for tries in wanted:
        for passage, _ in tries:
            assert passage in whole and passage.count("dollars") == 16


def test_a_short_document_is_seen_whole() -> None:
    short = Given("book", "book", TEXT.split("\n")[0], ())
    ((passage, _), *_), *_ = questioning.passages(config(), short)
    assert passage == short.text


def test_questions_about_a_short_document_differ(in_folder) -> None:
    short = Given("book", "book", "\n".join(TEXT.split("\n")[:12]), ())
    wanted = questioning.passages(config(), short)
    asked = [each for tries in wanted for each in tries]
    assert len(set(asked)) == len(asked) == 10 * 5
    counted: Counter[str] = Counter()
    made, _ = questioning.write(config(), short, (), counted)
    assert len(made) >= 5 and counted["auxiliary: asked twice"] == 10 - len(made)


@draws(st.integers(64, 400), st.integers(1, 3))
def test_a_window_ends_at_each_sentence(characters: int, number: int) -> None:
    given = config("auxiliary.about=sentences")  # composing takes longer than all the rest
    asked = replace(given.auxiliary, window_characters=characters, number=number)
    wanted = questioning.passages(replace(given, auxiliary=asked), BOOK)
    assert len(wanted) == 40 * number
    for place, line in enumerate(TEXT.split("\n")):
        passage, _ = wanted[place * number][0]
        assert passage.endswith(line) and (len(passage) <= characters or passage == line)
    turns = [turn for tries in wanted[:number] for _, turn in tries]
    assert len(set(turns)) == len(turns)


def test_questions_are_written_about_the_document_and_counted(in_folder) -> None:
    counted: Counter[str] = Counter()
    made, _ = questioning.write(config("auxiliary.number=6"), BOOK, (), counted)
    assert 3 <= len(made) <= 6
    assert all(each["answer"] in each["passage"] for each in made)
    assert len({each["question"] for each in made}) == len(made)
    assert counted["auxiliary: written"] >= len(made)
    again, _ = questioning.write(config("auxiliary.number=6"), BOOK, (), Counter())
    other, _ = questioning.write(config("auxiliary.number=6", "seed=1"), BOOK, (), Counter())
    assert again == made != other


def test_a_document_that_brings_questions_is_not_asked_about() -> None:
    told = Given("d", "d", TEXT, (), (("? k1", "v1"),))
    made, usage = questioning.write(config(), told, (), Counter())
    assert made == [{"question": "? k1", "answer": "v1", "passage": ""}] and not usage


def test_an_invented_document_that_is_told_nothing_is_not_asked_about() -> None:
    settings = replace(config(), documents=KeyValueDocuments(told=0), document=None)
    counted: Counter[str] = Counter()
    assert questioning.write(settings, BOOK, (), counted) == ([], {}) and not counted
