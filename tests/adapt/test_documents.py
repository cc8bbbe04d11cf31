"""Documents and their questions, as they are given."""

import json
from collections import Counter
from pathlib import Path

import pytest

from fullcontext.adapt import documents
from fullcontext.adapt.documents import Given, Question
from fullcontext.compose import ConfigError, compose_verb
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import tokenizer
from tests.adapt.symbols import chosen


def read(*words: str) -> list[Given]:
    config = compose_verb("adapt", [*chosen(words), *words])
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    return documents.read(config, prompt, Counter())


def lines(folder: Path, *records: object) -> str:
    path = folder / "books.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return f"document={path}"


def test_a_text_file_has_the_question_of_the_command(in_folder: Path) -> None:
    Path("book.txt").write_text("k1 v1\n")
    (found,) = read("documents=given", "document=book.txt", "question='? k1'")
    assert found == Given("book", "book", "k1 v1\n", (Question("question", "? k1"),))


def test_a_folder_of_texts_is_asked_the_same_question(in_folder: Path) -> None:
    for name in ("b", "a"):
        Path(f"{name}.txt").write_text(f"k1 v1 {name}")
    found = read("documents=given", "document=.", "question='? k1'")
    assert [each.id for each in found] == ["a", "b"]


def test_lines_bring_their_questions(in_folder: Path) -> None:
    asked = {"question": "? k1", "answers": ["v1"], "kind": "short"}
    book = {"id": "x", "text": "k1 v1", "questions": [asked]}
    (found,) = read("documents=given", lines(in_folder, book))
    assert found.questions == (Question("0", "? k1", ("v1",), "short"),)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"id": "x"}, "line 1, is no document"),
        ({"text": " "}, "the text is empty"),
        ({"id": "../x", "text": "k1"}, "names no folder"),
        ({"id": "x" * 201, "text": "k1"}, "names no folder"),
        ({"id": "a\0b", "text": "k1"}, "names no folder"),
        ({"text": "k1", "questions": [{"answers": ["v1"]}]}, "'question'"),
        ({"text": "k1", "questions": [{"question": "?", "answers": "v1"}]}, "no list of texts"),
        (["text"], "is no document"),
    ],
)
def test_a_line_that_is_no_document_is_refused(in_folder: Path, record: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read("documents=given", lines(in_folder, record))


def test_a_separator_of_lines_within_a_text_does_not_cut_the_line(in_folder: Path) -> None:
    record = json.dumps({"text": "k1\u2028v1", "title": None}, ensure_ascii=False)
    Path("books.jsonl").write_text(record + "\n", "utf-8")
    (found,) = read("documents=given", "document=books.jsonl")
    assert found == Given("line-1", "", "k1\u2028v1", ())


def test_a_question_of_no_kind_may_say_so(in_folder: Path) -> None:
    asked = {"question": "? k1", "answers": ["v1"], "kind": None}
    (found,) = read("documents=given", lines(in_folder, {"text": "k1", "questions": [asked]}))
    assert found.questions[0].kind == ""


def test_files_that_cannot_be_read_are_named(in_folder: Path) -> None:
    Path("empty.txt").write_text(" \n")
    Path("bytes.txt").write_bytes(b"\xff\xfe\x00")
    Path("bytes.jsonl").write_bytes(b'{"text": "\xff"}')
    Path("folder").mkdir()
    for name, said in (
        ("absent.txt", "cannot be read"), ("empty.txt", "is empty"),
        ("bytes.txt", "cannot be read"), ("folder", "without .txt files"),
        ("bytes.jsonl", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            read("documents=given", f"document={name}")


def test_two_documents_of_one_name_are_refused(in_folder: Path) -> None:
    twice = [{"id": "x", "text": "k1 v1"}] * 2
    with pytest.raises(ConfigError, match="several documents have the id 'x'"):
        read("documents=given", lines(in_folder, *twice))


def test_a_dictionary_asks_for_every_item_and_tells_a_share_beforehand() -> None:
    first, second = read("documents.number=2", "documents.told=0.25")
    assert first.text != second.text and len(first.questions) == 20 == len(first.text.splitlines())
    told = [question for question in first.questions if question.kind == "told"]
    assert len(told) == len(first.auxiliary) == 5
    line = dict(pair.split() for pair in first.text.splitlines())
    assert all(line[q.text.removeprefix("? ")] == q.answers[0] for q in first.questions)


def test_a_dictionary_of_more_keys_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_keys=32 distinct keys fill 96"):
        read("documents.tokens=300")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["documents=given"], "document is not given"),
        (["document=book.txt"], "go with documents=given"),
        (
            ["segments.use=false", "epochs.segments=0", "documents.told=0"],
            "nothing would be learnt",
        ),
        (["segments.use=false", "epochs.segments=1"], "set it to 0"),
        (
            ["documents=given", "document=a.txt", "auxiliary.number=2", "epochs.both=0"],
            "written and not learnt",
        ),
        (["documents.told=0.5", "epochs.both=0"], "what is told would not be learnt"),
        (["answering.limit=2000"], "exceed model.architecture.max_positions=1024"),
        (["segments.tokens=1000", "contextualise.use=true", "contextualise.tokens=100"], "exceed"),
        (["segments.stride=31"], "segments.stride=31 is out of range"),
        (["answering.modes=[]"], "answering.modes is empty"),
        (["data.question_position=before"], "question_position=after"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose_verb("adapt", [*chosen(words), *words])


def test_a_dictionary_may_be_learnt_by_what_is_told_of_it_or_by_segments_alone() -> None:
    told = ["segments.use=false", "epochs.segments=0", "documents.told=0.5"]
    assert not compose_verb("adapt", [*chosen(told), *told]).segments.use
    segments = ["documents.told=0", "epochs.segments=1", "epochs.both=0", "auxiliary.number=2"]
    assert not compose_verb("adapt", [*chosen(segments), *segments]).epochs.both
