"""answers/*.jsonl of a run folder -> arrays, one set of them for each task, length and step."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.report.statistics import Counts, Floats


@dataclass(frozen=True, slots=True)
class Probed:
    """The answers to one task at one length and step, as arrays of shape (items,)."""

    task: str
    length: int
    """Tokens that were asked for; 0 where the answers do not say."""
    step: int
    score: Floats
    strict: Floats
    """nan where it was not scored."""
    depth: Floats
    distance: Floats
    """nan where one item is asked for."""
    set_id: Counts
    position: Counts
    question: Counts
    """A hash of question and gold answer: the same place holds another item in another seed."""
    context: Counts
    """Identifies the context over runs: its set number and the first question asked in it."""
    mean_logp: Floats
    context_tokens: Counts
    window: int
    """Positions that the model was made for; 0 where the answers do not say."""

    def kept(self, rows: Counts) -> "Probed":
        """The same with some of the items."""
        arrays: dict[str, Any] = {
            each.name: value[rows]
            for each in fields(self)
            if isinstance(value := getattr(self, each.name), np.ndarray)
        }
        return replace(self, **arrays)


def lines(path: Path, warnings: list[str], is_growing: bool = True) -> list[dict[str, Any]]:
    """JSON objects of a JSONL file. A torn last line is passed over: one is being written, or was
    when its writer was killed; it is named if the file `is_growing` no more."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        warnings.append(f"{path}: cannot be read ({error})")
        return []
    try:  # one call for the whole file: several times as fast as one a line
        found = json.loads(f"[{','.join(filter(str.strip, text.split(chr(10))))}]")
    except ValueError:
        found = [None]
    if all(isinstance(each, dict) for each in found):
        return list(found)
    return list(_one_by_one(path, text.split("\n"), warnings, is_growing))


def _one_by_one(
    path: Path, rows: list[str], warnings: list[str], is_growing: bool
) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, start=1):
        try:
            value = json.loads(row) if row.strip() else None
            if value is not None and not isinstance(value, dict):
                raise ValueError("not an object")
        except ValueError:
            is_torn = number == len(rows)
            kind = "cut off in the middle" if is_torn else "not a JSON object"
            if not (is_torn and is_growing):
                warnings.append(f"{path}, line {number}: {kind}")
            continue
        if value is not None:
            yield value


def read(folder: Path, warnings: list[str]) -> tuple[Probed, ...]:
    """The answers of a folder, sorted by task, length and step; a file may hold many lengths."""
    found: list[Probed] = []
    for path in sorted(folder.glob("*_step*.jsonl")) if folder.is_dir() else []:
        task, _, step = path.stem.rpartition("_step")
        if step.isdigit():
            found += _file(path, task, int(step), warnings)
        else:
            warnings.append(f"{path}: its name does not end in _step and a number")
    return tuple(sorted(found, key=lambda probed: (probed.task, probed.length, probed.step)))


_NUMBERS = {
    "set": None,
    "position": None,
    "length": 0,
    "context_tokens": None,
    "window": 0,
    "score": None,
    "depth": None,
    "strict": np.nan,
    "distance": np.nan,
    "mean_logp": np.nan,
}
"""Columns and what stands for a field that is not there; None where it must be."""
_DIAGNOSTICS = ("strict", "distance", "mean_logp")
"""Columns in which null stands for nan."""


def _file(path: Path, task: str, step: int, warnings: list[str]) -> list[Probed]:
    rows = lines(path, warnings, is_growing=False)
    if not rows:
        return []
    try:
        table = _columns(rows)
    except (KeyError, TypeError, ValueError):
        table = _columns([row for row in rows if _is_answer(row)])
    usable = np.isfinite(table["score"]) & (table["depth"] >= 0) & (table["depth"] <= 1)
    bad = len(rows) - int(usable.sum())
    if bad:
        warnings.append(f"{path}: {bad} lines are no answers (fields missing or not numbers)")
    keys = np.stack([table[key] for key in ("length", "set", "position")])[:, usable]
    # A resumed probe may repeat a line; the later one counts, hence the search from the end.
    _, last = np.unique(keys[:, ::-1], axis=1, return_index=True)
    kept = np.flatnonzero(usable)[np.sort(keys.shape[1] - 1 - last)]
    table = {key: column[kept] for key, column in table.items()}
    return [
        _probed(task, step, {key: column[table["length"] == one] for key, column in table.items()})
        for one in np.unique(table["length"])
    ]


def _is_answer(row: dict[str, Any]) -> bool:
    try:
        _columns([row])
    except (KeyError, TypeError, ValueError):
        return False
    return True


def _columns(rows: list[dict[str, Any]]) -> dict[str, Floats]:
    """One array a column. Raises KeyError, TypeError or ValueError for a row that is no answer."""
    table = {}
    for key, missing in _NUMBERS.items():
        if missing is None:
            given = [row[key] for row in rows]
        else:
            given = [row.get(key, missing) for row in rows]
        if key in _DIAGNOSTICS:
            given = [np.nan if value is None else value for value in given]
        table[key] = np.array([float(value) for value in given])
    table["question"] = np.array(
        [zlib.crc32(f"{row['question']}\0{row['gold']}".encode()) for row in rows], np.float64
    )
    return table


def _probed(task: str, step: int, table: dict[str, Floats]) -> Probed:
    def whole(key: str) -> Counts:
        return table[key].astype(np.int64)

    set_id, position, question = whole("set"), whole("position"), whole("question")
    order = np.lexsort((position, set_id))
    names, first, inverse = np.unique(set_id[order], return_index=True, return_inverse=True)
    context = np.empty_like(set_id)
    # The first question of a context names it; the number of the set keeps two of them apart.
    context[order] = (question[order][first] * 65536 + names % 65536)[inverse]
    return Probed(
        task=task,
        length=int(table["length"][0]),
        step=step,
        score=table["score"],
        strict=table["strict"],
        depth=table["depth"],
        distance=table["distance"],
        set_id=set_id,
        position=position,
        question=question,
        context=context,
        mean_logp=table["mean_logp"],
        context_tokens=whole("context_tokens"),
        window=int(table["window"].max()),
    )
