"""The verb as processes: killed at any stage, on any threads, it comes to the same pairs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fullcontext.compose import ROOT
from fullcontext.data.pairs import FILE
from tests.improve.test_run import WORDS

pytestmark = pytest.mark.slow
KILLED = """
import os, runpy, signal, sys
from fullcontext.improve import stages, work

stage, after = sys.argv[1], 5
append, table, seen = work._append, stages.write_table, []

def dying(file, record):
    seen.append(record)
    if stage in file.name.split(os.sep)[-2] and len(seen) > after:
        file.write(work._line(record).encode()[:20])  # a kill may cut a line
        os.kill(os.getpid(), signal.SIGKILL)
    append(file, record)

def half(path, *rest):
    table(path, *rest)
    if stage == "pairs":
        os.kill(os.getpid(), signal.SIGKILL)

work._append, stages.write_table = dying, half
sys.argv = [sys.argv[2], *sys.argv[3:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
FILES = ("outputs/outputs.jsonl", "scores/scores.jsonl", f"pairs/{FILE}")


def start(folder: Path, *words: str, killed_at: str | None = None) -> int:
    """The exit status of `python improve.py WORDS` in a folder."""
    script = str(ROOT / "improve.py")
    begin = [script] if killed_at is None else ["-c", KILLED, killed_at, script]
    return subprocess.run(
        [sys.executable, *begin, *WORDS, *words], cwd=folder, check=False, capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).returncode  # fmt: skip


def made(folder: Path, name: str) -> dict[str, bytes]:
    place = folder / "outputs" / "improve" / name / "round_1"
    return {file: (place / file).read_bytes() for file in FILES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    assert start(folder, "threads=1") == 0
    return made(folder, "sealong")


@pytest.mark.parametrize("stage", ["outputs", "scores", "pairs"])
def test_killed_at_a_stage_it_goes_on_to_the_same_pairs(
    undisturbed: dict[str, bytes], tmp_path: Path, stage: str
) -> None:
    assert start(tmp_path, "threads=1", killed_at=stage) == -signal.SIGKILL
    place = tmp_path / "outputs" / "improve" / "sealong" / "round_1"
    assert not (place / "pairs" / "manifest.json").exists()
    before = {path: path.stat().st_mtime_ns for path in place.glob("*/*.json*")}
    assert start(tmp_path, "threads=1") == 0
    assert made(tmp_path, "sealong") == undisturbed
    finished = [path for path in before if path.name == "manifest.json"]
    assert finished and all(before[path] == path.stat().st_mtime_ns for path in finished)


def test_other_threads_and_processes_give_the_same_pairs(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for part in (1, 0, 1):  # the last to end goes on to the scores
        assert start(tmp_path, "threads=2", "parts=2", f"part={part}", "name=two") == 0
    assert made(tmp_path, "two") == undisturbed
    record = json.loads((tmp_path / "outputs/improve/two/metrics.jsonl").read_text())
    assert record["step"] == 1 and 0 <= record["right/random"] <= 1
