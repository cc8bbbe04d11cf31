"""Where a point is follows from the queue, its status.json and its last attempt."""

import json
from pathlib import Path

import pytest

from fullcontext.cluster import attempts, points, progress, slurm
from fullcontext.cluster.attempts import How
from fullcontext.cluster.points import Point
from fullcontext.compose import ConfigError


def status(folder: Path, state: str, step: int = 0, error: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"state": state, "step": step, "steps": 60, "error": error})
    (folder / "status.json").write_text(text)


@pytest.mark.parametrize(
    ("queue", "state", "how", "line"),
    [
        ("PENDING", "", None, "queued (job 5_0)"),
        ("RUNNING", "", None, "starting (job 5_0)"),
        ("RUNNING", "running", None, "running at step 40 of 60 (job 5_0)"),
        ("COMPLETED", "finished", How.finished, "finished"),
        ("PENDING", "stopped", How.stopped,
         "queued at step 40 of 60, preempted 1 time (job 5_0)"),
        ("RUNNING", "stopped", How.stopped, "starting at step 40 of 60 (job 5_0)"),
        ("CANCELLED", "running", None, "cancelled at step 40 of 60 (job 5_0)"),
        ("FAILED", "failed", How.failed, "failed at step 40 of 60: it broke"),
        ("TIMEOUT", "running", None, "failed at step 40 of 60: its time ended before it had saved"),
        ("GONE", "running", None, "lost at step 40 of 60 (job 5_0): its job is not in the queue"),
        ("UNREACHABLE", "running", None,
         "running at step 40 of 60 (job 5_0): SLURM does not answer"),
    ],
)  # fmt: skip
def test_each_point_says_where_it_is(
    queue: str, state: str, how: How | None, line: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(slurm, "states", lambda jobs: dict.fromkeys(jobs, queue))
    points.note(tmp_path, [Point("0", ["seed=0"], "slurm", "5_0")])
    if state:
        status(tmp_path / "0", state, 40)
        number = attempts.begin(tmp_path / "0", "5_0", 0)
        if how is not None:
            error = "it broke" if how is How.failed else None
            attempts.end(tmp_path / "0", number, how, error)
    (place,) = progress.read(tmp_path)
    assert place.line().startswith(line)


def test_the_table_names_what_differs_between_points_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "states", lambda jobs: dict.fromkeys(jobs, "PENDING"))
    made = [Point(str(i), [f"seed={i}", "experiments=demo"], "slurm", f"5_{i}") for i in range(2)]
    points.note(tmp_path, made)
    status(tmp_path / "by_hand", "failed", 3, "no more")
    assert (
        progress.text(tmp_path, progress.read(tmp_path))
        .splitlines()[0]
        .endswith("2 queued, 1 failed")
    )
    points.note(tmp_path, [Point("1", ["seed=1", "experiments=demo"], "slurm", "6")])
    assert [point.job for point in points.read(tmp_path)] == ["5_0", "6"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no sweep and no run in .*hydra.sweep.dir"):
        progress.read(tmp_path)


def test_attempts_that_come_no_step_further_are_counted(tmp_path: Path) -> None:
    for step, idle in ((5, 1), (5, 2), (5, 3), (6, 1)):
        number = attempts.begin(tmp_path, "5", 0)
        status(tmp_path, "stopped", step)
        attempts.end(tmp_path, number, How.stopped)
        assert attempts.idle(tmp_path) == idle
    assert attempts.number(tmp_path) == 4
