"""Questions of the kind `instruction` out of instruction sets and conversations (IN2, 2.2)."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import ChatInstructions
from fullcontext.data import files, hub
from fullcontext.records import Question

KIND = "instruction"
_SETTING = hub.Setting(
    path="instructions.path",
    config="instructions.config",
    split="instructions.split",
    instead="instructions=written, or instructions=chat instructions.path=FILE",
)
_ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip
_LONGEST = 10_000_000
"""Characters of a record beyond which it is not looked at."""

Exchange = tuple[str, str, str]
"""System text, prompt and response."""


class _Unfit(Exception):
    """Why a record gives no instruction."""


def read(
    config: ChatInstructions, seed: int, count: int, skipped: Counter[str]
) -> Iterator[Question]:
    """`count` instructions, or as many as there are, drawn from the whole set in seeded order.

    Every instruction has a number that follows from the seed and its words. Those with the smallest
    are taken and come in this order: a fair sample of a stream of any length that keeps no more
    than `count` in memory, is the same whatever order the records come in, and begins with the
    sample of any smaller count. What gives no instruction is counted by reason. Raises ConfigError
    if the set cannot be read or has no such field.
    """
    drawn: list[tuple[int, str, Question]] = []  # a heap with the largest number first
    kept: set[str] = set()
    for place, record in islice(_records(config), config.max_records):
        try:
            question = _question(_exchange(record, place, config, skipped), config)
        except _Unfit as reason:
            skipped[f"{KIND}: {reason}"] += 1
            continue
        if question.id in kept:
            skipped[f"{KIND}: exact duplicate"] += 1
            continue
        entry = (-_number(seed, question.id), question.id, question)
        if len(drawn) < count:
            heapq.heappush(drawn, entry)
            kept.add(question.id)
        elif drawn and entry > drawn[0]:
            kept.remove(heapq.heapreplace(drawn, entry)[1])
            kept.add(question.id)
    yield from (question for _, _, question in sorted(drawn, reverse=True))


def _number(seed: int, id: str) -> int:
    content = f"instructions {seed} {id}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8])


def _question(exchange: Exchange, config: ChatInstructions) -> Question:
    system, prompt, response = (part.strip() for part in exchange)
    if not prompt or not response:
        raise _Unfit("empty prompt or response")
    asked = f"{system}\n\n{prompt}" if system else prompt
    if len(asked.split()) + len(response.split()) > config.max_words:
        raise _Unfit("longer than instructions.max_words")
    id = hashlib.sha256("\n".join([KIND, asked, response]).encode()).hexdigest()[:16]
    return Question(
        id=id,
        kind=KIND,
        question=asked,
        answer=response,
        evidence=(),
        context=(),
        document=id,
        parent=id,
        source=config.name,
    )


def _records(config: ChatInstructions) -> Iterator[tuple[str, files.Record | None]]:
    path = Path(config.path).expanduser()
    if not path.exists() or (path / "README.md").exists():
        stream = hub.records(config.path, config.config, config.split, _SETTING)
        yield from ((f"record {i} of {config.path}", record) for i, record in enumerate(stream))
        return
    found = files.found(config.path, "instructions.path")
    records = [file for file in found.files if files.kind(file) in (".jsonl", ".parquet")]
    if not records:
        raise ConfigError(
            f"instructions.path={config.path!r} holds no .jsonl or .parquet file; name another"
        )
    for file in records:
        yield from files.records(file, found.name(file), _fields(config), _LONGEST)


def _fields(config: ChatInstructions) -> dict[str, str]:
    if config.messages_field is not None:
        return {"instructions.messages_field": config.messages_field}
    named = {
        "instructions.system_field": config.system_field,
        "instructions.prompt_field": config.prompt_field,
        "instructions.response_field": config.response_field,
    }
    return {key: field for key, field in named.items() if field is not None}


def _exchange(
    record: files.Record | None, place: str, config: ChatInstructions, skipped: Counter[str]
) -> Exchange:
    if record is None:
        raise _Unfit("longer than instructions.max_words")
    values = {key: files.value(record, field, place, key) for key, field in _fields(config).items()}
    if config.messages_field is not None:
        return _first(values["instructions.messages_field"], place, config, skipped)
    system = values.get("instructions.system_field")
    prompt, response = (values[f"instructions.{part}_field"] for part in ("prompt", "response"))
    return _text(system), _text(prompt), _text(response)


def _first(messages: Any, place: str, config: ChatInstructions, skipped: Counter[str]) -> Exchange:
    """The first exchange of a conversation: a user's turn and the assistant's right after it."""
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        raise ConfigError(
            f"instructions.messages_field={config.messages_field!r} holds no list of messages in"
            f" {place}; name another, or null to use prompt_field and response_field"
        )
    turns = [(_role(turn, place), turn.get("content", turn.get("value"))) for turn in messages]
    start = next((i for i, (role, _) in enumerate(turns) if role != "system"), len(turns))
    if [role for role, _ in turns[start : start + 2]] != ["user", "assistant"]:
        raise _Unfit("does not begin with a user and an assistant")
    system = "\n\n".join(_text(content) for _, content in turns[:start])
    exchange = system, _text(turns[start][1]), _text(turns[start + 1][1])
    later = len(turns) - start - 2
    if later:
        skipped[f"{KIND}: later turn of a conversation left out (first exchange kept)"] += later
    return exchange


def _role(turn: files.Record, place: str) -> str:
    for field in ("role", "from"):
        if field in turn:
            return _ROLES.get(str(turn[field]).lower(), "other")
    raise ConfigError(
        f"a message in {place} has neither role nor from; its fields are: {', '.join(turn)}; name"
        " another with instructions.messages_field"
    )


def _text(content: Any) -> str:
    """The text of a message: a string, or parts that are all text, a line each."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    raise _Unfit("content that is not text")


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type", "text") == "text":
        text = part.get("text")
        if isinstance(text, str):
            return text
    raise _Unfit("content that is not text")
