"""Files are whole or absent."""

import re
from pathlib import Path

import pytest

from fullcontext import store
from fullcontext.compose import ConfigError
from fullcontext.store import read_lines, write_aside


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_aside(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_aside(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert list(read_lines(path)) == [{"a": 1}, {"a": 2}]


def test_whoever_comes_second_is_told_what_is_done_where(tmp_path: Path) -> None:
    said = f"another process is making part 0 of {tmp_path}; wait"
    with (
        store.locked(tmp_path / ".part-0", "making part 0 of"),
        pytest.raises(ConfigError, match=re.escape(said)),
        store.locked(tmp_path / ".part-0", "making part 0 of"),
    ):
        pass
