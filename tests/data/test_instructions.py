"""Instructions of any format become questions without context: a fair, seeded, counted sample."""

import json
from collections import Counter
from pathlib import Path

import pandas
import pytest

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import ChatInstructions
from fullcontext.data import instructions
from fullcontext.records import Question


def write(file: Path, *records: object) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def read(
    path: str, count: int = 100, seed: int = 0, **settings: object
) -> tuple[list[Question], Counter[str]]:
    skipped: Counter[str] = Counter()
    config = ChatInstructions(path=path, **settings)
    return list(instructions.read(config, seed, count, skipped)), skipped


def said(path: str, **settings: object) -> set[tuple[str, str]]:
    return {(q.question, q.answer) for q in read(path, **settings)[0]}


def turns(*texts: object, roles: str = "user assistant") -> dict[str, object]:
    pairs = zip(roles.split() * len(texts), texts, strict=False)
    return {"messages": [{"role": role, "content": text} for role, text in pairs]}


def rows(number: int) -> list[dict[str, str]]:
    return [{"prompt": f"ask {i}", "response": f"say {i}"} for i in range(number)]


PARTS = {"messages_field": None}


def test_a_question_of_an_instruction_stands_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"prompt": " Say hi. ", "response": "Hi.\n"})
    found, skipped = read(path, messages_field=None, name="mine")
    (question,) = found
    assert (question.question, question.answer, question.kind) == ("Say hi.", "Hi.", "instruction")
    assert (question.evidence, question.context, question.source) == ((), (), "mine")
    assert question.id == question.document == question.parent and len(question.id) == 16
    assert not skipped


def test_openorca_is_read_as_it_is_laid_out(tmp_path: Path) -> None:
    config = compose_verb("synthesize", ["instructions=openorca"]).instructions
    record = {"id": "niv.1", "system_prompt": "Be kind.", "question": "Why?", "response": "So."}
    other = record | {"id": "flan.2", "system_prompt": ""}
    config.path = write(tmp_path / "a.jsonl", record, other)
    found = list(instructions.read(config, 0, 9, Counter()))
    assert {q.question for q in found} == {"Be kind.\n\nWhy?", "Why?"}
    assert {q.source for q in found} == {"openorca"}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hub"])
def test_conversations_of_every_format_and_file_give_their_first_exchange(
    tmp_path: Path, kind: str
) -> None:
    messages = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Why?"},
        {"from": "gpt", "value": "So."},
        {"from": "human", "value": "Really?"},
        {"from": "gpt", "value": "Yes."},
    ]
    records = [{"conversations": messages}, {"conversations": messages[1:3]}]
    if kind == "parquet":
        pandas.DataFrame(records).to_parquet(tmp_path / "a.parquet")
    else:
        write(tmp_path / "data" / "train.jsonl", *records)
    if kind == "hub":
        (tmp_path / "README.md").write_text("A data set.\n")
    found, skipped = read(str(tmp_path), messages_field="conversations")
    assert {(q.question, q.answer) for q in found} == {
        ("Be brief.\n\nWhy?", "So."), ("Why?", "So.")
    }  # fmt: skip
    left = "instruction: later turn of a conversation left out (first exchange kept)"
    assert skipped == {left: 2}


def test_parts_of_text_are_joined_and_pictures_left_out(tmp_path: Path) -> None:
    text = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    picture = [*text, {"type": "image_url", "image_url": {"url": "x"}}]
    path = write(tmp_path / "a.jsonl", turns(text, "fine"), turns(picture, "fine"))
    found, skipped = read(path)
    assert [q.question for q in found] == ["one\ntwo"]
    assert skipped == {"instruction: content that is not text": 1}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (turns("", "a"), "empty prompt or response"),
        (turns("q", None), "empty prompt or response"),
        (turns("q " * 8, "a a a"), "longer than instructions.max_words"),
        (turns("q"), "does not begin with a user and an assistant"),
        (turns("a", "q", roles="assistant user"), "does not begin with a user and an assistant"),
        (turns("q", "f", "a", roles="user tool assistant"), "does not begin with a user and an"),
        ({"messages": []}, "does not begin with a user and an assistant"),
        (turns("q", {"image": 1}), "content that is not text"),
        (turns("q", 3), "content that is not text"),
    ],
)
def test_what_gives_no_instruction_is_counted_by_reason(
    tmp_path: Path, record: object, reason: str
) -> None:
    path = write(tmp_path / "a.jsonl", record, turns("fine", "fine"))
    found, skipped = read(path, max_words=10)
    assert [q.question for q in found] == ["fine"]
    assert len(skipped) == 1 and next(iter(skipped)).startswith(f"instruction: {reason}")


def test_the_same_seed_draws_the_same_and_another_seed_another_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *rows(200))
    ids = {seed: [q.id for q in read(path, 20, seed, **PARTS)[0]] for seed in (0, 1)}
    assert ids[0] == [q.id for q in read(path, 20, 0, **PARTS)[0]]
    assert len(ids[0]) == 20 and ids[0] != ids[1] and len({*ids[0]} & {*ids[1]}) < 10


def test_the_order_of_the_records_does_not_count_and_samples_are_nested(tmp_path: Path) -> None:
    forth = write(tmp_path / "a.jsonl", *rows(100))
    back = write(tmp_path / "b.jsonl", *rows(100)[::-1])
    assert read(forth, 30, **PARTS)[0] == read(back, 30, **PARTS)[0]
    assert read(forth, 10, **PARTS)[0] == read(forth, 30, **PARTS)[0][:10]
    assert len(read(forth, 1000, **PARTS)[0]) == 100
    assert read(forth, 0, **PARTS)[0] == []


def test_the_sample_is_fair(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *rows(40))
    drawn = Counter(q.question for seed in range(100) for q in read(path, 10, seed, **PARTS)[0])
    assert len(drawn) == 40 and min(drawn.values()) > 10 and max(drawn.values()) < 45  # 25 each
    first = Counter(read(path, 10, seed, **PARTS)[0][0].question for seed in range(100))
    assert len(first) > 25


def test_doubles_among_the_drawn_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *rows(5), *rows(5))
    found, skipped = read(path, **PARTS)
    assert len(found) == 5 and skipped == {"instruction: exact duplicate": 5}


def test_only_the_first_records_are_read_if_so_wished(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *rows(5), "no object")
    assert said(path, max_records=5, **PARTS) == {(f"ask {i}", f"say {i}") for i in range(5)}


@pytest.mark.parametrize(
    ("record", "settings", "message"),
    [
        (turns("q", "a"), {"messages_field": "chat"}, r"messages_field='chat' is not in .*: mess"),
        ({"q": "", "response": ""}, PARTS, r"prompt_field='prompt' is not in .* are: q, response"),
        ({"messages": "text"}, {}, r"messages_field='messages' holds no list of messages in a\.j"),
        ({"messages": [{"who": "me"}]}, {}, r"in a\.jsonl:1 has neither role nor from; .*: who"),
    ],
)
def test_wrong_fields_are_refused_with_those_there_are(
    tmp_path: Path, record: object, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(write(tmp_path / "a.jsonl", record), **settings)


def test_sets_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"instructions.path='a/b' .*does not answer.*=written"):
        read("a/b")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"holds no .jsonl or .parquet file"):
        read(str(tmp_path))
