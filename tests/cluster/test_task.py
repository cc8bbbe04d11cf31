"""The last error says why; the children of a process are found; a copy holds the code."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from fullcontext import provenance
from fullcontext.cluster import snapshot
from fullcontext.cluster.log import Log, last_error
from fullcontext.cluster.task import Task, children
from fullcontext.compose import ROOT


def test_the_last_error_is_what_a_person_would_look_for() -> None:
    raised = "Traceback (most recent call last):\n  File x\nValueError: 3 is odd\n"
    torchrun = "torch.distributed.elastic.ChildFailedError: \n======\nRoot Cause (first):\n"
    assert last_error(raised + torchrun) == "ValueError: 3 is odd"
    assert last_error(f"error: no data; make some\n{raised}{torchrun}") == "no data; make some"
    assert last_error("Killed\n\n") == "Killed" and last_error("") == ""


def test_a_log_begins_where_the_attempt_began(tmp_path: Path) -> None:
    path = tmp_path / "log.err"
    path.write_text("error: that of before\n")
    log = Log(path)
    with path.open("a") as file:
        file.write("OSError: disk\n")
    assert log.error() == "OSError: disk"


def test_children_are_the_processes_that_one_started_itself() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.pid in children(os.getpid())
    child.communicate(b"\n")
    assert child.pid not in children(os.getpid())


def test_a_task_is_pickled_as_its_paths() -> None:
    task = Task("/code/train.py", ["seed=1"], "/sweep/1", processes=8)
    assert len(pickle.dumps(task)) < 400 and pickle.loads(pickle.dumps(task)) == task


def test_a_copy_of_the_code_is_whole_named_by_its_content_and_knows_its_commit(
    tmp_path: Path,
) -> None:
    copy = snapshot.take(ROOT, tmp_path / "code")
    assert snapshot.take(ROOT, tmp_path / "code") == copy
    for name in ("train.py", "conf/train.yaml", "src/fullcontext/cluster/task.py", "slurm"):
        assert (copy / name).exists()
    assert not list(copy.rglob("__pycache__"))
    assert (copy / provenance.COMMIT).read_text() == provenance.commit()
    changed = tmp_path / "changed"
    snapshot.take(copy, changed)
    (copy / "train.py").write_text("# another\n")
    snapshot.take(copy, changed)
    assert len(list(changed.iterdir())) == 2
