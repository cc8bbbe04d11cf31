"""The released contexts of VaL: their items, order and questions, without their prompt.

The release (hub: In2Training/VaLProbing-32K) has a row a question: the whole prompt in FILM's
template, the right answer, and where it stands. Here a prompt is taken apart, so that any model
reads it in its own chat template and at any length.
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fullcontext.compose import ConfigError
from fullcontext.probe import database
from fullcontext.probe.items import Item

log = logging.getLogger("fullcontext")
FILES = {
    "document": "document_bi_32k",
    "code": "code_backward_32k",
    "database": "database_forward_32k",
}
"""Task -> its split on the hub and its file."""

_CONTEXT, _INSTRUCTION = "### Context:\n", "\n\n### Instruction:\n"
_QUOTED = re.compile(r'the (?:piece|code snip) "(.*)" ?\?\s*$', re.DOTALL)
_ID = re.compile(r"where the id is (\S+) \?\s*$")
_CODE_LINES = 4


class ReleasedSet(NamedTuple):
    """A context of the release."""

    set: int
    items: tuple[Item, ...]
    """In their order; an item nobody asks for has no question."""


def read(task: str, path: str) -> list[ReleasedSet]:
    """The contexts of a task, sets rising.

    Raises ConfigError if the rows cannot be had or are in another format.
    """
    sets: dict[tuple[int, str], dict[int, tuple[str, str]]] = {}
    for number, row in enumerate(_rows(task, path)):
        context, question = _taken_apart(row, f"{path}, {FILES[task]}, row {number}")
        asked = sets.setdefault((int(row["set_id"]), context), {})
        asked[int(row["position_id"])] = question, gold_of(task, row)
    found = []
    for (set_id, context), asked in sorted(sets.items(), key=lambda each: each[0][0]):
        texts = _items(task, context)
        if max(asked) >= len(texts):
            raise ConfigError(
                f"{path}, {FILES[task]}: position {max(asked)} of set {set_id} is asked, but its"
                f" context has {len(texts)} items; the file is not as it was released"
            )
        items = tuple(_item(task, text, *asked.get(i, ("", ""))) for i, text in enumerate(texts))
        found.append(ReleasedSet(set_id, items))
    return found


def gold_of(task: str, row: dict[str, Any]) -> str:
    """The right answer of a row as our rows put it."""
    if task == "database":
        return database.answer(str(row["label"]), str(row["description"]))
    return str(row["completion"])


def unambiguous(task: str, one: ReleasedSet) -> ReleasedSet:
    """Without the questions whose quotation stands in more than one item; they are counted."""
    marks = [item.mark for item in one.items]
    texts = [item.text for item in one.items]
    twice = [i for i, mark in enumerate(marks) if mark and sum(mark in t for t in texts) > 1]
    if twice:
        log.warning(
            "%s, set %d: %d of %d questions have more than one answer and are not asked (%s)",
            task, one.set, len(twice), sum(map(bool, marks)), ", ".join(map(str, twice[:8])),
        )  # fmt: skip
    items = [
        replace(item, question="") if i in set(twice) else item for i, item in enumerate(one.items)
    ]
    return ReleasedSet(one.set, tuple(items))


def _rows(task: str, path: str) -> Iterator[dict[str, Any]]:
    folder = Path(path)
    name = FILES[task]
    if folder.is_dir():
        file = folder / f"{name}.jsonl"
        if not file.is_file():
            raise ConfigError(
                f"probe.path={path} has no {name}.jsonl; download the release there, or leave"
                f" {task} out of probe.tasks"
            )
        for number, line in enumerate(file.read_text("utf-8").split("\n"), start=1):
            if line.strip():
                yield _row(line, f"{file}, line {number}")
        return
    from datasets import load_dataset

    try:
        rows = load_dataset(path, split=name)
    except Exception as error:  # whatever the hub, the network or the files do
        raise ConfigError(
            f"probe.path={path} cannot be loaded ({type(error).__name__}:"
            f" {str(error).strip().splitlines()[0] if str(error).strip() else ''}); with no hub,"
            " set probe.path to a folder with the release's *.jsonl"
        ) from error
    yield from rows


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where} is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{where} is not a JSON object")
    return row


def _taken_apart(row: dict[str, Any], where: str) -> tuple[str, str]:
    """Context and question of a row."""
    missing = {"prompt", "set_id", "position_id"} - set(row)
    prompt = str(row.get("prompt", ""))
    if missing or _CONTEXT not in prompt or _INSTRUCTION not in prompt:
        what = f"without {', '.join(sorted(missing))}" if missing else "in another template"
        raise ConfigError(f"{where} is {what}; the release has FILM's template with ### Context:")
    context, _, rest = prompt.partition(_CONTEXT)[2].rpartition(_INSTRUCTION)
    return context, rest.split("[/INST]")[0].strip()


def _items(task: str, context: str) -> list[str]:
    lines = [line for line in context.split("\n") if line.strip()]
    if task != "code":
        return lines
    return ["\n".join(lines[i : i + _CODE_LINES]) for i in range(0, len(lines), _CODE_LINES)]


def _item(task: str, text: str, question: str, gold: str) -> Item:
    found = (_ID if task == "database" else _QUOTED).search(question)
    return Item(text, found[1] if found else "", question, gold)
