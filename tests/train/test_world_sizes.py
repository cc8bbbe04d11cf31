"""torchrun trains as one process does, and a run goes on with more or fewer processes."""

import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from fullcontext.compose import ROOT
from tests.ranks import free_port
from tests.train.test_resume import SMALL, losses, steps_done, train

STEPS = ["max_steps=24", "checkpoint.every_steps=4"]
CUT = ["sharding.context_parallel=2"]
LAYOUTS = {
    1: ["sharding=none"],
    2: ["sharding=full_shard", "sharding.timeout_s=30"],
    4: ["sharding=hybrid", "sharding.shard_size=2", "sharding.timeout_s=30"],
}


def started(folder: Path, size: int, *words: str) -> subprocess.Popen[bytes]:
    """train.py in so many processes."""
    given = [word for word in words if word != "sharding=none"]
    given[1:1] = LAYOUTS[size]  # what is given later counts
    launcher = [
        "-m", "torch.distributed.run", f"--nproc-per-node={size}",
        f"--master-port={free_port()}",
    ]  # fmt: skip
    command = [sys.executable, *(launcher if size > 1 else []), str(ROOT / "train.py"), *given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with (folder.parent / f"{folder.name}.out").open("ab") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=out, cwd=folder.parent, env=environment
        )  # fmt: skip


def kill(process: subprocess.Popen[bytes]) -> None:
    """All of it: torchrun's workers have sessions of their own and would train on without it."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family, 10)


def weights(folder: Path) -> np.ndarray:
    tensors = load_file(folder / "export" / "model.safetensors")
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "alone"
    assert train(folder, *SMALL, *STEPS, f"hydra.run.dir={folder}").wait(300) == 0
    return folder


def same(folder: Path, expected: Path) -> None:
    """Each step once; losses and weights to float error."""
    found, wanted = losses(folder), losses(expected)
    assert [step for step, _ in found] == [step for step, _ in wanted]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in wanted], rel=1e-5)
    difference = np.linalg.norm(weights(folder) - weights(expected))
    assert difference < 1e-5 * np.linalg.norm(weights(expected))


def said(folder: Path) -> str:
    return (folder.parent / f"{folder.name}.out").read_text()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "two"
    assert started(folder, 2, *SMALL, *STEPS, *CUT, f"hydra.run.dir={folder}").wait(300) == 0
    return folder


def test_torchrun_trains_one_run_as_one_process_does(alone: Path, two: Path) -> None:
    same(two, alone)
    assert said(two).count("run folder:") == 1, "one rank speaks"


@pytest.mark.slow
def test_killed_on_two_ranks_it_ends_there_with_the_same_bits(two: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = started(folder, 2, *SMALL, *STEPS, *CUT, f"hydra.run.dir={folder}")
    while process.poll() is None and steps_done(folder) < 10:
        time.sleep(0.01)
    kill(process)
    assert 10 <= steps_done(folder) < 24, said(folder)
    assert started(folder, 2, f"resume={folder}", *CUT).wait(300) == 0, said(folder)
    assert losses(folder) == losses(two)
    assert (weights(folder) == weights(two)).all()


def test_killed_it_goes_on_with_any_number_of_processes(alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    words = [*SMALL, *STEPS, f"hydra.run.dir={folder}"]
    for size, until in ((2, 6), (4, 13)):
        process = started(folder, size, *words)
        while process.poll() is None and steps_done(folder) < until:
            time.sleep(0.01)
        kill(process)
        assert steps_done(folder) >= until, said(folder)
        words = [f"resume={folder}"]
    assert started(folder, 1, *words).wait(300) == 0, said(folder)
    same(folder, alone)


@pytest.mark.slow
def test_fifty_random_kills_across_world_sizes_change_nothing(tmp_path: Path) -> None:
    more = ["max_steps=300", "checkpoint.every_steps=2"]
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert started(whole, 1, *SMALL, *more, f"hydra.run.dir={whole}").wait(300) == 0
    draw = random.Random(4)
    words = [*SMALL, *more, f"hydra.run.dir={folder}"]
    for _ in range(50):
        process = started(folder, draw.choice(list(LAYOUTS)), *words)
        at = steps_done(folder) + draw.randint(1, 6)
        until = time.monotonic() + (3 * draw.random() if draw.random() < 0.2 else 300)
        while process.poll() is None and steps_done(folder) < at and time.monotonic() < until:
            time.sleep(0.002)
        assert process.poll() is None, said(folder)
        time.sleep(draw.random() * 0.05)
        kill(process)
        if (folder / "config.yaml").exists():
            words = [f"resume={folder}"]
    assert started(folder, 4, *words).wait(300) == 0, said(folder)
    same(folder, whole)
