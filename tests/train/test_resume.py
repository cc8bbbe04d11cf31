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


@pytest.mark.parametrize("seed", [0, 1])
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
