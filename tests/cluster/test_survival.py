"""What clusters do to runs, done by a real SLURM: nothing is lost, doubled or called a success.

All interruptions happen side by side, each in a thread of its own: a run takes seconds, but to
start and to requeue it takes longer.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fullcontext.cluster import points, progress
from fullcontext.cluster.attempts import read
from tests.cluster.lab import (
    CPUS,
    STEPS,
    Lab,
    finished,
    kill,
    made,
    place,
    ranked,
    steps,
    trains,
    until,
)  # fmt: skip

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ALONE = f"hydra.launcher.cpus_per_task={CPUS}"
"""All of a node, so that what befalls it befalls one run."""
LONG = ("batch_size=64", "max_steps=350")
"""Half a minute and more."""
RANKS = (
    "sharding=full_shard", "hydra.launcher.nodes=2", "hydra.launcher.torchrun=2",
    "hydra.launcher.cpus_per_task=2",
)  # fmt: skip


def preempted(lab: Lab, folder: Path) -> dict[str, Any]:
    """Another job wants its node, and has the higher partition."""
    words = (ALONE, "tracking=wandb", "tracking.mode=offline")
    run, job = lab.submit(folder, *words)
    trains(run)
    node = lab.node(job)
    lab.ask(
        "sbatch", "-p", "high", f"--nodelist={node}", f"-c{CPUS}", "--output=/dev/null",
        "--wrap=sleep 3",
    )  # fmt: skip
    until(lambda: place(folder).state == "queued", "it waits")
    waiting = place(folder).line()
    return {"waiting": waiting, "attempts": finished(run, 2), "run": run, "made": made(run)}


def out_of_time(lab: Lab, folder: Path) -> dict[str, Any]:
    """Its limit is a minute, of which the last part is for saving; it needs longer."""
    short = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=45")
    run, job = lab.submit(folder / "short", *LONG, *short)
    calm, _ = lab.submit(folder / "calm", *LONG)
    until(lambda: place(folder / "short").state == "queued" and read(run), "its time was up")
    lab.ask("scontrol", "update", f"JobId={job}", "TimeLimit=30")  # once is enough
    finished(calm, 1)
    return {"attempts": finished(run, 2), "made": made(run), "undisturbed": made(calm)}


def requeued(lab: Lab, folder: Path) -> dict[str, Any]:
    """An administrator has it run again: SIGTERM, and no word before."""
    run, job = lab.submit(folder, ALONE)
    trains(run)
    lab.ask("scontrol", "requeue", job)
    return {"attempts": finished(run, 2), "made": made(run)}


def cancelled(lab: Lab, folder: Path) -> dict[str, Any]:
    """Its user ends it, and has it made after all."""
    run, job = lab.submit(folder, ALONE)
    trains(run)
    lab.ask("scancel", job)
    until(lambda: place(folder).state == "cancelled", "it is cancelled")
    seen = place(folder)
    code, said = lab.launch(folder, ALONE)
    assert code == 0, said
    return {"seen": seen, "attempts": finished(run, 2), "made": made(run)}


def without_daemon(lab: Lab, folder: Path) -> dict[str, Any]:
    """SLURM loses a node whose processes live on, and starts the job elsewhere."""
    run, job = lab.submit(folder, ALONE, *LONG)
    trains(run)
    kill(lab.folder / "run" / f"slurmd.{lab.node(job)}.pid")
    until(lambda: len(read(run)) == 2, "it began elsewhere")
    return {"attempts": finished(run, 2), "made": made(run)}


def sharded(lab: Lab, folder: Path) -> dict[str, Any]:
    """Four ranks on two nodes are told to stop, through torchrun's agents; then one is killed."""
    run, job = lab.submit(folder / "stopped", *RANKS)
    trains(run)
    lab.ask("scancel", "--signal=USR2", job)
    until(lambda: len(read(run)) > 1 and steps(run)[-1]["step"] > read(run)[0].step + 2, "again")
    os.kill(ranked(job, 3), signal.SIGKILL)
    calm, _ = lab.submit(folder / "calm", *RANKS)
    attempts = finished(run, 3)
    finished(calm, 1)
    return {"attempts": attempts, "made": made(run), "undisturbed": made(calm)}


def swept(lab: Lab, folder: Path) -> dict[str, Any]:
    """Three seeds, and two points that cannot be run; the terminal dies when they are submitted."""
    words = ("seed=0,1,2", "batch_size=8,0")
    terminal = lab.launcher(folder, *words)
    until(lambda: points.read(folder), "it is submitted")
    os.killpg(terminal.pid, signal.SIGKILL)
    terminal.communicate()
    jobs = [point.job for point in points.read(folder)]
    code, said = lab.launch(folder, *words)
    after = [point.job for point in points.read(folder)]
    again = lab.launch(folder, *words)
    return {
        "jobs": jobs, "after": after, "code": code, "said": said, "again": again, "folder": folder,
        "made": [made(folder / name) for name in ("0", "2", "4")],
        "states": {place.folder: place for place in progress.read(folder)},
        "accounted": lab.ask("scontrol", "-o", "show", "job", jobs[0].partition("_")[0]),
    }  # fmt: skip


BRIEF = (swept, preempted, requeued)
LASTING = (cancelled, without_daemon, out_of_time, sharded)
"""Minutes: for `make test-slow`."""
Outcomes = Callable[[Callable[[Lab, Path], dict[str, Any]]], dict[str, Any]]


@pytest.fixture(scope="module")
def outcome(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Outcomes]:
    """Makes everything happen that is asked about; gives what came of one of them."""
    folder = tmp_path_factory.mktemp("survival")
    slow = any(item.get_closest_marker("slow") for item in request.session.items)
    happening = (*BRIEF, *LASTING) if slow else BRIEF
    with ThreadPoolExecutor(len(happening)) as pool:
        known: dict[Any, Future[dict[str, Any]]] = {}
        for each in happening:
            known[each] = pool.submit(each, lab, folder / each.__name__)
            time.sleep(0.5)
        yield lambda each: known[each].result(600)


def test_an_array_outlives_its_terminal_and_is_taken_up_by_a_relaunch(outcome: Outcomes) -> None:
    found = outcome(swept)
    assert len({job.partition("_")[0] for job in found["jobs"]}) == 1
    assert found["after"][::2] == found["jobs"][::2], "nothing that can be run was submitted twice"
    assert len({each["weights"] for each in found["made"]}) == 3
    assert all(each["examples"][-1] == 8 * STEPS for each in found["made"])


def test_a_point_that_cannot_run_fails_alone_and_alone_is_made_again(outcome: Outcomes) -> None:
    found = outcome(swept)
    assert found["code"] == found["again"][0] == 1
    states = {name: place.state for name, place in found["states"].items()}
    assert states == {
        "0": "finished", "1": "failed", "2": "finished", "3": "failed", "4": "finished",
        "5": "failed",
    }  # fmt: skip
    assert found["states"]["1"].error.startswith("batch_size=0 is out of range")
    assert found["accounted"].count("JobState=FAILED") == 3
    assert found["accounted"].count("JobState=COMPLETED") == 3
    assert found["again"][1].count("finished already") == 3


def test_a_preempted_run_goes_on_as_the_same_run(outcome: Outcomes) -> None:
    found = outcome(preempted)
    assert found["attempts"][0].how == "stopped" and found["attempts"][0].step > 2
    assert found["waiting"].startswith(f"queued at step {found['attempts'][0].step} of {STEPS}")
    assert "preempted 1 time" in found["waiting"]
    assert found["made"] == outcome(swept)["made"][0]
    logs = list((found["run"] / "wandb").glob("offline-run-*"))
    assert len(logs) == 2 and len({log.name.rpartition("-")[2] for log in logs}) == 1


@pytest.mark.slow
def test_a_run_whose_time_is_up_has_saved_and_goes_on(outcome: Outcomes) -> None:
    found = outcome(out_of_time)
    assert [each.how for each in found["attempts"]] == ["stopped", "finished"]
    assert found["made"] == found["undisturbed"]


def test_a_requeued_run_goes_on(outcome: Outcomes) -> None:
    found = outcome(requeued)
    first, second = found["attempts"]
    assert first.how == "stopped" and first.step > 2 and second.restart == 1
    assert found["made"] == outcome(swept)["made"][0]


@pytest.mark.slow
def test_a_cancelled_run_is_not_requeued_and_goes_on_when_launched_again(
    outcome: Outcomes,
) -> None:
    found = outcome(cancelled)
    assert found["seen"].line().startswith("cancelled at step ")
    first, second = found["attempts"]
    assert first.how == "stopped" and first.job != second.job
    assert found["made"] == outcome(swept)["made"][0]


@pytest.mark.slow
def test_a_run_whose_node_is_lost_leaves_it_to_its_successor(outcome: Outcomes) -> None:
    found = outcome(without_daemon)
    first, second = found["attempts"]
    assert first.node != second.node
    assert first.how is None or second.step == first.step, "it left, or it had finished before"
    assert found["made"] == outcome(out_of_time)["undisturbed"]


@pytest.mark.slow
def test_four_ranks_on_two_nodes_stop_together_outlive_one_and_go_on(outcome: Outcomes) -> None:
    found = outcome(sharded)
    first, second, _ = found["attempts"]
    assert first.how == "stopped" and second.how == "lost a rank"
    assert "given no sign of life" in second.error
    assert found["made"] == found["undisturbed"]
    single = outcome(swept)["made"][0]
    assert found["made"]["examples"] == single["examples"]
    assert found["made"]["losses"] == pytest.approx(single["losses"], rel=1e-4)
