"""A run that was killed ends with the very weights of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from fullcontext.compose import ROOT

SMALL = [
    "data=key_value_symbols", "model=symbols", "sharding=none", "tracking=none", "precision=fp32",
    "schedule.peak=1e-3", "batch_size=64", "data.questions_per_context=8", "max_steps=40",
    "checkpoint.every_steps=4", "threads=1",
]  # fmt: skip


def train(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "train.py"), *more]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (folder.parent / f"{folder.name}.out").open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, cwd=folder.parent, env=environment)


def first(folder: Path) -> list[str]:
    return [*SMALL, f"hydra.run.dir={folder}"]


def weights(folder: Path) -> dict[str, bytes]:
    tensors = load_file(folder / "export" / "model.safetensors")
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(record["step"], record["loss"]) for record in map(json.loads, lines)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train(folder, *first(folder)).wait(300) == 0
    return folder


def steps_done(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_weights_are_bit_identical(
    undisturbed: Path, tmp_path: Path, seed: int
) -> None:
    folder = tmp_path / "killed"
    draw = random.Random(seed)
    words = first(folder)
    for _ in range(3):
        process = train(folder, *words)
        at = steps_done(folder) + draw.randint(1, 12)
        while process.poll() is None and steps_done(folder) < at:
            time.sleep(0.01)
        time.sleep(draw.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (folder / "config.yaml").exists():
            words = [f"resume={folder}"]
    assert train(folder, *words).wait(300) == 0
    assert weights(folder) == weights(undisturbed)
    assert losses(folder) == losses(undisturbed)


def being_written(folder: Path) -> bool:
    return any((folder / "checkpoints").glob(".step_*.aside"))


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written_it_goes_on_from_the_one_before(
    undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "torn"
    draw = random.Random(2)
    words = first(folder)
    torn = 0
    for _ in range(3):
        process = train(folder, *words)
        until = steps_done(folder) + 5  # past a checkpoint, so that every life gets further
        while process.poll() is None and (steps_done(folder) < until or not being_written(folder)):
            time.sleep(0.001)
        time.sleep(draw.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        torn += being_written(folder)
        words = [f"resume={folder}"]
    assert torn
    assert train(folder, *words).wait(300) == 0
    assert not being_written(folder)
    assert weights(folder) == weights(undisturbed)
    assert losses(folder) == losses(undisturbed)


@pytest.mark.slow
def test_fifty_random_kills_change_no_bit(tmp_path: Path) -> None:
    more = ["max_steps=400", "checkpoint.every_steps=2", "checkpoint.keep_every=100"]
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    assert train(whole, *first(whole), *more).wait(300) == 0
    lasts = time.monotonic() - began
    draw = random.Random(3)
    words = [*first(folder), *more]
    for _ in range(50):
        process = train(folder, *words)
        if draw.random() < 0.2:  # at start, or while it goes back
            time.sleep(draw.random() * min(lasts, 5.0))
        else:
            at = steps_done(folder) + draw.randint(1, 8)
            while process.poll() is None and steps_done(folder) < at:
                time.sleep(0.002)
            time.sleep(draw.random() * 0.05)
        assert process.poll() is None, "it ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (folder / "config.yaml").exists():
            words = [f"resume={folder}"]
    assert train(folder, *words).wait(300) == 0
    assert weights(folder) == weights(whole)
    assert losses(folder) == losses(whole)
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["step_000100", "step_000200", "step_000300", "step_000398", "step_000400"]


def test_asked_to_stop_it_saves_says_how_to_go_on_and_does(
    undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    process = train(folder, *first(folder))
    while steps_done(folder) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "stopped"
    assert (folder / "checkpoints" / f"step_{status['step']:06d}").exists()
    assert f"resume={folder}" in (tmp_path / "stopped.out").read_text()
    assert train(folder, f"resume={folder}").wait(300) == 0
    assert weights(folder) == weights(undisturbed)


def test_a_damaged_newest_checkpoint_is_passed_over(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    process = train(folder, *first(folder))
    while not (folder / "checkpoints" / "step_000008").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    newest = max((folder / "checkpoints").glob("step_*"))
    (newest / "extra.json").write_text("{}")
    assert train(folder, f"resume={folder}").wait(300) == 0
    assert f"{newest} is damaged (extra.json has changed)" in (folder / "log.txt").read_text()
    assert weights(folder) == weights(undisturbed)
