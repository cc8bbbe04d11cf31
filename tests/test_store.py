"""Files are whole or absent; a journal keeps what was said before a kill."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.store import Journal, read_lines, write_aside


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_aside(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_aside(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@given(st.integers(0, 60))
def test_a_journal_cut_anywhere_keeps_whole_answers(tmp_path_factory, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "asked.jsonl"
    with Journal(path) as journal:
        for i in range(3):
            journal.add(str(i), {"answer": i})
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    whole = path.read_bytes().count(b"\n")
    with Journal(path) as journal:
        assert [str(i) in journal for i in range(3)] == [i < whole for i in range(3)]
        journal.add("more", 1)
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == whole + 1


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert list(read_lines(path)) == [{"a": 1}, {"a": 2}]
