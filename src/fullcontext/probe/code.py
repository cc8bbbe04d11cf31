"""VaL's backward probe: which function holds this line (IN2, section 3).

The functions are those of the interpreter's standard library, so the contexts differ between
Python versions. An item is a name and three lines of the body, without arguments, as in VaL.
"""

import ast
import os
import sysconfig
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from fullcontext.probe.items import Item, in_turn
from fullcontext.randomness import rng

LEAST_NAME = 8
"""Characters of the shortest released name."""
LINES = 3
LEAST_LINE, MOST_LINE = 12, 100
"""Characters of a line: shorter ones (`else:`) say too little, longer ones fill the context."""
QUESTION = 'In above context, which function contains the code snip "{line}" ?'

_SKIPPED = {
    "__pycache__", "dist-packages", "encodings", "idlelib", "lib2to3", "site-packages", "test",
    "tests", "turtledemo",
}  # fmt: skip
"""Folders of tests, of demonstrations, of generated tables, and what is not of the library."""


def candidates(seed: int, index: int) -> Iterator[Item]:
    """Functions of the standard library in the order of context `index`."""
    yield from in_turn(_files(), _functions, rng(seed, "code probe", index))


@lru_cache(maxsize=1)
def _files() -> tuple[Path, ...]:
    root = Path(sysconfig.get_path("stdlib"))
    files: list[Path] = []
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(set(inner) - _SKIPPED)
        files += (Path(folder) / name for name in sorted(names) if name.endswith(".py"))
    return tuple(files)


@lru_cache(maxsize=4096)
def _functions(file: Path) -> tuple[Item, ...]:
    try:
        source = file.read_text("utf-8")
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    lines = source.splitlines()
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    items = (_item(node, lines) for node in nodes)
    return tuple(item for item in items if item is not None)


def _item(node: ast.FunctionDef, source: list[str]) -> Item | None:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if len(node.name) < LEAST_NAME or node.name.startswith("__") or not body:
        return None
    written = source[body[0].lineno - 1 : body[-1].end_lineno]
    lines = [line.rstrip() for line in written if line.strip() and not line.strip().startswith("#")]
    lines = textwrap.dedent("\n".join(lines[:LINES])).split("\n")
    if len(lines) < LINES or any(len(line) > MOST_LINE or "\t" in line for line in lines):
        return None
    line = lines[1].strip()
    text = "\n".join([f"def {node.name}:", *(f"    {each}" for each in lines)])
    if len(line) < LEAST_LINE or text.count(line) > 1:
        return None
    return Item(text, line, QUESTION.format(line=line), node.name)


def clash(one: Item, other: Item) -> bool:
    """Whether `other` holds the line of `one`, or mentions its name anywhere."""
    return one.mark in other.text or one.gold in other.text
