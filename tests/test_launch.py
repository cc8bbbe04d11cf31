"""Ranks find each other, agree, and name the one that is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fullcontext import launch
from fullcontext.compose import ConfigError
from tests.ranks import each, together


def meet(world: launch.World) -> list[object]:
    stop = launch.StopFlag()
    if world.rank == 1:
        stop.name = "SIGTERM"
    return [
        launch.sum_floats([world.rank + 0.25, 2.0**53 - 1]),
        launch.gather({"rank": world.rank, "said": "é" * world.rank}),
        launch.first_said("folder", "the same on all") == "the same on all",
        stop.agree(), stop.name, world.is_main,
    ]  # fmt: skip


def test_all_ranks_get_the_sums_the_texts_and_the_wish_to_stop() -> None:
    first, second = together(2, meet)
    said = [{"rank": 0, "said": ""}, {"rank": 1, "said": "é"}]
    assert first[:3] == second[:3] == [[1.5, 2.0**54 - 2], said, True]
    assert first[3:] == [True, "a signal to another rank", True]
    assert second[3:] == [True, "SIGTERM", False]


def test_one_process_agrees_with_itself() -> None:
    assert launch.sum_floats([1.5]) == [1.5] and launch.gather("x") == ["x"]
    assert launch.first_said("key", "mine") == "mine" and not launch.StopFlag().agree()


def test_a_signal_ends_the_work_that_heeds_it_and_says_how_to_go_on(caplog) -> None:
    caplog.set_level("INFO", "fullcontext")
    stop = launch.StopFlag()
    with stop.listening():
        stop.heed()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(SystemExit) as ended:
            stop.heed()
    assert ended.value.code == launch.STOPPED
    assert caplog.messages == ["stopped by SIGINT; run the same command again to go on"]


def lose(world: launch.World, how: str) -> float:
    launch.barrier()
    if world.rank == 2:
        if how == "error":
            raise ConfigError("the data of rank 2 are damaged")
        os.kill(os.getpid(), getattr(signal, how))
    start = time.monotonic()
    try:
        launch.barrier()
    finally:
        assert time.monotonic() - start < 8
    return 0.0


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("SIGKILL", r"rank 2 has given no sign of life for \d+ s; rank"),
        ("SIGSTOP", r"rank 2 has given no sign of life for \d+ s; rank"),
        ("error", r"rank 2 failed \(the data of rank 2 are damaged\); rank"),
    ],
)
def test_a_lost_rank_is_named_by_all_others_within_the_timeout(how: str, said: str) -> None:
    answers = each(3, lose, how, timeout_s=3)
    for rank in (0, 1):
        assert isinstance(answers[rank], ConfigError), answers
        assert re.match(said + f" {rank} stops", str(answers[rank]))


def place_in_job() -> list[object]:
    return list(launch.place())


def test_tasks_of_submitit_find_each_other(tmp_path: Path) -> None:
    """Real processes of submitit's local executor, which tells its tasks apart as SLURM's does."""
    import submitit

    executor = submitit.LocalExecutor(folder=tmp_path)
    executor.update_parameters(tasks_per_node=2, timeout_min=1)
    places = executor.submit(place_in_job).results()
    assert places == [[0, 2, 0, 2, False], [1, 2, 1, 2, False]]


def test_the_place_is_known_without_torch() -> None:
    code = "import sys; from fullcontext import launch; launch.place();"
    code += " sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
