"""A throw-away SLURM cluster of the tests' own, and runs on it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from fullcontext.cluster import attempts, points, progress
from fullcontext.compose import ROOT

STEPS = 250
WORDS = (
    "experiments=debug", "probe=none", "profile.steps=[]", "data.limit=null", "log_every=1",
    f"max_steps={STEPS}", "checkpoint.every_steps=25",
)  # fmt: skip
"""A run of 118K weights: seconds, most of which import torch."""
NODES, CPUS = 5, 4
PATIENCE_S = 480.0


class Lab:
    """Five slurmd daemons of four CPUs each, on ports that no other cluster uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {
            "SLURM_LAB": str(folder), "SLURM_NODES": str(NODES), "SLURM_CPUS": str(CPUS),
            "SLURM_BASE_PORT": "26817", "SLURM_CLUSTER": "tests", "SLURM_TIMEOUT_S": "10",
            "SLURM_CONF": str(folder / "etc" / "slurm.conf"),
        }  # fmt: skip
        self.env = {
            **os.environ, **self.settings, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1",
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
        }  # fmt: skip

    def up(self) -> str:
        """Starts what does not run; what was wrong, or nothing."""
        done = subprocess.run(
            ["bash", str(ROOT / "cluster" / "slurm_up.sh")],
            env=self.env, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        return done.stderr if done.returncode else ""

    def down(self) -> None:
        down = ["bash", str(ROOT / "cluster" / "slurm_down.sh")]
        subprocess.run(down, env={**self.env, "PURGE": "1"}, capture_output=True, check=False)

    def ask(self, *command: str) -> str:
        """What a SLURM command says."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=True)
        return done.stdout

    def launcher(self, sweep: Path, *words: str, **more: Any) -> "subprocess.Popen[str]":
        """A terminal in which a sweep is launched."""
        command = [
            sys.executable, str(ROOT / "train.py"), *WORDS, "slurm=local",
            "hydra.launcher.cluster=slurm", "hydra.launcher.poll_s=0.3",
            f"hydra.sweep.dir={sweep}", *words,
        ]  # fmt: skip
        sweep.parent.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            command, env=self.env, cwd=sweep.parent, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more,
        )  # fmt: skip

    def launch(self, sweep: Path, *words: str) -> tuple[int, str]:
        """Exit status and output of a launch that is waited for."""
        process = self.launcher(sweep, *words)
        said, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, said

    def submit(self, sweep: Path, *words: str) -> tuple[Path, str]:
        """Submits one point with `wait: false`; its run folder and its job."""
        code, said = self.launch(sweep, "hydra.launcher.wait=false", *words)
        assert code == 0, said
        point = points.read(sweep)[0]
        assert point.job is not None
        return sweep / point.folder, point.job

    def node(self, job: str) -> str:
        """The first node of a job."""
        return self.ask("squeue", "--noheader", "--jobs", job, "--format=%N").strip()


def until(happens: Callable[[], Any], what: str) -> Any:
    """Waits for something to be true, and gives it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := happens():
            return found
        time.sleep(0.05)
    raise TimeoutError(what)


def steps(run: Path) -> list[dict[str, Any]]:
    """The steps that a run has logged."""
    path = run / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def trains(run: Path) -> None:
    """Waits for the first steps of a run."""
    until(lambda: len(steps(run)) > 2, f"{run} has begun")


def finished(run: Path, times: int | None = None) -> list[attempts.Attempt]:
    """Waits for the end of a run; the attempts it took, of which there have to be so many."""

    def ended() -> bool:
        known = attempts.read(run)
        assert not known or known[-1].how != "failed", known[-1].error
        return bool(known) and known[-1].how == "finished"

    until(ended, f"{run} is finished")
    known = attempts.read(run)
    assert times is None or len(known) == times, known
    return known


def made(run: Path) -> dict[str, Any]:
    """Everything that has to be the same, bit for bit, however often a run was interrupted.

    The loss of every step, once: it is a function of the examples of that step, and of the weights
    that all steps before have left.
    """
    lines = steps(run)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return {
        "losses": [line["loss"] for line in lines],
        "examples": [line["examples"] for line in lines],
        "data": json.loads((run / "data.json").read_text()),
        "weights": sha256((run / "export" / "model.safetensors").read_bytes()).hexdigest(),
    }


def place(sweep: Path) -> progress.Place:
    """Where the only point of a sweep is."""
    (found,) = progress.read(sweep)
    return found


def ranked(job: str, rank: int) -> int:
    """The process that is a rank of a job; all nodes are this machine."""
    wanted = {f"RANK={rank}", f"SLURM_JOB_ID={job}"}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted <= set(path.read_text(errors="replace").split("\0")):
                return int(path.parent.name)
    raise LookupError(f"no process is rank {rank} of job {job}")


def kill(pid_file: Path) -> None:
    """As a crash would."""
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
