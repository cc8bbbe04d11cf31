"""Rules of the house that a linter does not know."""

import ast
from pathlib import Path

import pytest

from fullcontext.compose import ROOT

SOURCES = sorted((ROOT / "src").rglob("*.py"))
BANNED = {"utils", "helpers", "base", "registry", "common", "misc", "factory"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_stay_under_300_lines_and_functions_on_a_screen(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300 and path.stem not in BANNED
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name


def test_probe_report_and_data_do_not_know_the_training_loop() -> None:
    for part in ("probe", "report", "data", "model", "objective"):
        for path in (ROOT / "src" / "fullcontext" / part).rglob("*.py"):
            assert "train.loop" not in path.read_text(), path


def test_nothing_of_this_machine_is_in_the_project() -> None:
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text()
        assert "../shared" not in text and str(ROOT) not in text, path
