"""LooGLE is read in both of its layouts; what it says is data, and what it lacks is counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fullcontext.adapt import loogle
from fullcontext.adapt.documents import Given
from fullcontext.adapt.metrics import scores
from fullcontext.compose import ConfigError
from fullcontext.config.loogle import LOOGLE_TASKS, LoogleDocuments

TOWN = ' The fair town. It\'s said that "Ada" built it in 1815; a port came in 1840.'
ROAD = "A road was laid in 1900."
TIMELINE = "Order these:\nI. The port.\nII. The town."


def pair(question: str, answer: Any, **more: Any) -> dict[str, Any]:
    return {"Q": question, "A": answer, "S": ["The fair town."], **more}


LONG = [
    pair("Why is it fair?", 'It\'s "old"', type="comprehension_and_reasoning"),
    pair("What was built?", "a town, a port", type="multiple_information_retrieval"),
    pair("How many years apart?", "25", type="computation"),
    pair(TIMELINE, "II,I", type="timeline_reorder"),
]
CLOZE = [pair("<mask-0> built a town.", {"<mask-0>": "Ada"})]


def line(text: str, pairs: Any, output: str = "none", title: str = "Town") -> dict[str, Any]:
    """A document as the files beside the published code have it."""
    listed = pairs if isinstance(pairs, str) else repr(pairs)
    return {"input": text, "title": title, "qa_pairs": listed, "output": output}


def write(folder: Path, name: str, *lines: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    (folder / name).write_text("\n".join(texts) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two documents: three tasks ask about the first, two about the other."""
    path = tmp_path / "files"
    write(path, "shortdep_qa.jsonl", line(TOWN, [pair("Who?", "Ada"), pair("When?", 1815)]),
          line(ROAD, [pair("What?", "a road")], title="Road"))  # fmt: skip
    write(path, "longdep_qa.jsonl", line(TOWN + "\n", LONG))
    write(path, "shortdep_cloze.jsonl", line(TOWN, CLOZE))
    write(path, "longdep_summarization.jsonl", line(ROAD, "none", "A road.", "2208.12273"))
    return path


def read(path: Path | None, *tasks: str, **more: Any) -> tuple[list[Given], Counter[str]]:
    counted: Counter[str] = Counter()
    settings = LoogleDocuments(
        path=None if path is None else str(path), tasks=list(tasks or LOOGLE_TASKS), **more
    )
    return list(loogle.read(settings, counted)), counted


def test_equal_texts_of_several_tasks_are_one_document_with_all_questions(folder: Path) -> None:
    (town, road), counted = read(folder)
    assert (town.title, town.text, road.title, road.text) == ("Town", TOWN, "Road", ROAD)
    assert [each.kind for each in town.questions] == [
        "short", "short", "comprehension_reasoning", "multiple_retrieval", "computation",
        "timeline", "cloze",
    ]  # fmt: skip
    assert [each.kind for each in road.questions] == ["short", "summary"]
    assert [each.answers for each in town.questions[:4]] == [
        ("Ada",), ("1815",), ('It\'s "old"',), ("a town, a port",)
    ]  # fmt: skip
    assert road.questions[1].answers == ("A road.",) and not counted


def test_what_a_question_asks_for_can_be_scored(folder: Path) -> None:
    (town, road), _ = read(folder)
    timeline, cloze = town.questions[-2:]
    assert timeline.text.startswith(TIMELINE) and cloze.text.endswith("\n<mask-0> built a town.")
    assert '{"<mask-0>": "Ada"' in cloze.text
    assert scores("timeline", "II,I", timeline.answers)["exact"] == 1
    assert scores("cloze", "{'<mask-0>': 'Ada'}", cloze.answers)["cloze_exact"] == 1
    assert scores("summary", "A road.", road.questions[1].answers)["rouge_l_recall"] == 1


def test_ids_hang_on_the_text_and_the_place_in_it_alone(folder: Path) -> None:
    (town, _), _ = read(folder)
    by_id = {each.id: each.text for each in town.questions}
    assert len(by_id) == len(town.questions) and "/" not in town.id
    (alone,), counted = read(folder, "longdep_qa", kinds=["computation"])
    assert alone.id == town.id and counted == {"questions of other kinds": 3}
    assert [by_id[each.id] for each in alone.questions] == ["How many years apart?"]
    (road,), counted = read(folder, "summarization", "shortdep_qa", max_documents=1)
    assert road.text == ROAD and [each.kind for each in road.questions] == ["summary", "short"]
    assert counted == {"lines of further documents": 1}


def test_a_line_a_question_is_the_same_as_a_line_a_document(folder: Path, tmp_path: Path) -> None:
    """The hub's layout; its reader fills in masks that only other lines have."""
    hub = tmp_path / "hub"

    def row(text: str, question: str, answer: Any, **more: Any) -> dict[str, Any]:
        return {"context": text, "question": question, "answer": answer, "evidence": [], **more}

    write(hub, "shortdep_qa.jsonl", row(TOWN, "Who?", "Ada", title="Town"),
          row(TOWN, "When?", "1815"), row(ROAD, "What?", "a road", title="Road"))  # fmt: skip
    rows = [row(TOWN, p["Q"], p["A"], task=p["type"], title="Town") for p in LONG]
    write(hub, "longdep_qa.jsonl", *rows)
    masks = {"<mask-0>": "Ada", "<mask-1>": None}
    write(hub, "shortdep_cloze.jsonl", row(TOWN, "<mask-0> built a town.", masks))
    write(hub, "summarization.jsonl", row(ROAD, "none", "A road."))
    assert read(hub)[0] == read(folder)[0]


def test_lists_that_are_written_as_json_are_read_too(tmp_path: Path) -> None:
    for number, listed in enumerate((CLOZE, json.dumps(CLOZE))):
        record = {**line(TOWN, "none"), "qa_pairs": listed}
        write(tmp_path / str(number), "shortdep_cloze.jsonl", record)
        (town,), _ = read(tmp_path / str(number), "shortdep_cloze")
        assert town.questions[0].answers == ('{"<mask-0>": "Ada"}',)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"input": "x", "qa', "is not JSON"),
        ("[1]", "is not a JSON object"),
        (line("  ", LONG), "no text"),
        ({"input": "x", "title": "t"}, "neither qa_pairs nor question and answer"),
        (line("x", "none"), "qa_pairs is none"),
        (line("x", "[{'Q': 'a', 'A': "), "qa_pairs is neither JSON nor a Python literal"),
        (line("x", "{'Q': 'a'}"), "qa_pairs is no list of questions"),
        (line("x", "['a']"), "qa_pairs is no list of questions"),
        (line("x", [pair("Who?", {"x": 1})]), "the answer to .* is no text"),
        (line("x", [{"Q": 3, "A": "x"}]), "is no text"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malformed_line_is_refused_by_file_and_line(
    tmp_path: Path, bad: Any, message: str
) -> None:
    write(tmp_path, "longdep_qa.jsonl", line(TOWN, LONG), "", bad)
    with pytest.raises(ConfigError, match=message) as raised:
        read(tmp_path, "longdep_qa")
    assert f"{tmp_path / 'longdep_qa.jsonl'}:3" in str(raised.value)


@pytest.mark.parametrize("masks", ["Ada", {}, {"<mask-0>": 3}, "{'<mask-0>': None}", None])
def test_a_cloze_without_masks_is_refused(tmp_path: Path, masks: Any) -> None:
    write(tmp_path, "shortdep_cloze.jsonl", line(TOWN, [pair("<mask-0> came.", masks)]))
    with pytest.raises(ConfigError, match=r"shortdep_cloze.jsonl:1 is no line of LooGLE"):
        read(tmp_path, "shortdep_cloze")


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    code = f"[__import__('pathlib').Path({str(made)!r}).touch()]"
    write(tmp_path, "longdep_qa.jsonl", line(TOWN, code))
    with pytest.raises(ConfigError, match=r"longdep_qa.jsonl:1 .*neither JSON nor a Python"):
        read(tmp_path, "longdep_qa")
    assert not made.exists()


def test_what_cannot_be_asked_is_counted_by_reason(tmp_path: Path) -> None:
    pairs = [pair("", "x"), pair("Who?", " "), pair("When?", None), pair("Where?", "here")]
    write(tmp_path, "longdep_qa.jsonl", line(TOWN, pairs), line(ROAD, []))
    (town,), counted = read(tmp_path, "longdep_qa")
    assert [(each.text, each.kind) for each in town.questions] == [("Where?", "long")]
    assert town.questions[0].id.endswith("-3")
    assert counted == {
        "questions without text": 1, "questions without an answer": 2,
        "long questions of no known type (None)": 1, "documents without a question": 1,
    }  # fmt: skip


def test_a_missing_or_ambiguous_file_is_named(folder: Path) -> None:
    (folder / "longdep_qa.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"has no file longdep_qa.jsonl.*documents.tasks"):
        read(folder)
    write(folder / "data", "shortdep_qa.json", line(TOWN, []))
    with pytest.raises(ConfigError, match=r"has 2 files shortdep_qa.jsonl"):
        read(folder)


def test_a_data_set_of_the_hub_is_read_by_task(tmp_path: Path) -> None:
    """A folder in the hub's format, streamed as the hub is."""
    write(tmp_path / "data", "shortdep_qa.jsonl", line(TOWN, [pair("Who?", "Ada")]))
    write(tmp_path / "data", "shortdep_cloze.jsonl", line(TOWN, CLOZE), line(ROAD, "[3]"))
    configs = "".join(
        f"- config_name: {task}\n  data_files:\n  - split: test\n    path: data/{task}.jsonl\n"
        for task in ("shortdep_qa", "shortdep_cloze")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    (town,), _ = read(None, "shortdep_qa", hub=str(tmp_path))
    assert (town.text, town.questions[0].answers) == (TOWN, ("Ada",))
    with pytest.raises(ConfigError, match=r"shortdep_cloze, record 2, is no line of LooGLE"):
        read(None, "shortdep_cloze", hub=str(tmp_path))
    with pytest.raises(ConfigError, match=r"documents.hub=.*documents.tasks"):
        read(None, "longdep_qa", hub=str(tmp_path))


def test_without_a_network_the_hub_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"does not answer.*documents.path=FOLDER"):
        read(None, "shortdep_qa")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ["novels"]}, "documents.tasks='novels' is unknown"),
        ({"tasks": []}, "names none"),
        ({"tasks": ["shortdep_qa", "shortdep_qa"]}, "one twice"),
        ({"kinds": ["novel"]}, "documents.kinds='novel' is unknown"),
        ({"tasks": ["shortdep_qa"], "kinds": ["timeline"]}, "leave the task out or add one"),
        ({"max_documents": 0}, "documents.max_documents=0"),
    ],
)
def test_settings_that_read_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoogleDocuments(**settings)
