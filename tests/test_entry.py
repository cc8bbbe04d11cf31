"""What a script says when it cannot go on."""

import errno
import os

import pytest

from fullcontext.entry import errors_for_people


def test_a_full_disk_is_one_sentence(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit, match="1"), errors_for_people():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "rows.jsonl"))
    said = capsys.readouterr().err
    assert said.startswith(f"error: the disk is full ({tmp_path}/rows.jsonl); free some space")
    assert said.count("\n") == 1


def test_any_other_error_of_the_system_keeps_its_traceback() -> None:
    with pytest.raises(PermissionError), errors_for_people():
        raise PermissionError(errno.EACCES, "Permission denied")
