"""The released pieces of VaL as items (in2_film: VaLProbing/pieces), for contexts of any length."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.probe import code, database, document
from fullcontext.probe.items import Item
from fullcontext.randomness import rng

_FILES = {
    "document": ("document_sentences.jsonl", ("sentence", "piece")),
    "code": ("code_functions.jsonl", ("function_name", "function_define", "piece")),
    "database": ("database_entities.jsonl", ("id", "label", "dcpt")),
}
"""Task -> its file and the fields of a line."""


def candidates(task: str, folder: str, seed: int, index: int) -> Iterator[Item]:
    """The pieces of a task in the order of context `index`, each once.

    Raises ConfigError if the file is missing or has other fields.
    """
    pool = _pool(task, folder)
    for i in rng(seed, f"{task} probe, pieces", index).permutation(len(pool)):
        yield pool[i]


@lru_cache(maxsize=8)
def _pool(task: str, folder: str) -> tuple[Item, ...]:
    name, fields = _FILES[task]
    path = Path(folder) / name
    if not path.is_file():
        raise ConfigError(
            f"probe.path={folder} has no {name}; it is the folder VaLProbing/pieces of"
            " github.com/microsoft/FILM"
        )
    items = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if line.strip():
            items.append(_item(task, _fields(line, fields, f"{path}, line {number}")))
    return tuple(dict.fromkeys(item for item in items if item is not None))


def _fields(line: str, wanted: tuple[str, ...], where: str) -> list[str]:
    try:
        record: Any = json.loads(line)
        return [str(record[field]) for field in wanted]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{where}: not a JSON object with {', '.join(wanted)} ({error}); take the file as it"
            " was released"
        ) from error


def _item(task: str, fields: list[str]) -> Item | None:
    match task:
        case "document":
            sentence, piece = (" ".join(field.split()) for field in fields)
            question = document.QUESTION.format(piece=piece)
            return Item(sentence, piece, question, sentence) if piece in sentence else None
        case "code":
            name, body, line = fields
            text = f"def {name}:\n{body}"
            question = code.QUESTION.format(line=line)
            return Item(text, line, question, name) if text.count(line) == 1 else None
        case _:
            item = database.item(database.Entity(*fields))
            template = database.answer("", "")
            parts = database.accepted_parts(item.gold)
            plain = all(part and part not in template for part in parts) and "\n" not in item.text
            return item if plain and len(parts[0]) >= database.LEAST_LABEL else None
