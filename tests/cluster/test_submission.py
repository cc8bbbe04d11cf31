"""What would be given to sbatch, read line by line; no SLURM is needed to print it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fullcontext.compose import ROOT


def printed(folder: Path, *words: str) -> str:
    """What `hydra.launcher.dry_run=true` prints for two seeds."""
    here = folder / "here"
    here.touch()
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "experiments=debug", "seed=0,1",
         "hydra.launcher.dry_run=true", f"hydra.sweep.dir={folder}/a b/sweep", *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert list(folder.iterdir()) == [here], "nothing is written"
    return done.stdout


@pytest.mark.parametrize(
    ("profile", "asked"),
    [
        ("a100x1", ["nodes=1", "ntasks-per-node=1", "gpus-per-node=1", "cpus-per-task=8"]),
        ("a100x8", ["nodes=1", "ntasks-per-node=8", "gpus-per-node=8", "cpus-per-task=8"]),
        ("a100x16", ["nodes=2", "ntasks-per-node=8", "gpus-per-node=8", "cpus-per-task=8"]),
        ("a100x128", ["nodes=16", "ntasks-per-node=1", "gpus-per-node=8", "cpus-per-task=64"]),
        ("h100x16", ["nodes=2", "ntasks-per-node=1", "gpus-per-node=8", "cpus-per-task=96"]),
        ("single_node_torchrun", ["nodes=1", "ntasks-per-node=1", "gpus-per-node=8"]),
    ],
)
def test_a_profile_is_one_array_that_is_told_to_save_and_may_be_requeued(
    profile: str, asked: list[str], tmp_path: Path
) -> None:
    lines = printed(tmp_path, f"slurm={profile}").splitlines()
    flags = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]
    assert {*asked, "array=0-1%2", "requeue", "signal=USR2@300", "partition=train"} <= {*flags}
    (srun,) = (line for line in lines if line.startswith("srun "))
    assert "--kill-on-bad-exit=1" in srun and srun.split()[-3:-1] != []
    assert sum(line.startswith("# python ") for line in lines) == 2


def test_here_without_slurm_it_prints_the_commands_of_its_processes(tmp_path: Path) -> None:
    said = printed(tmp_path, "slurm=local", "hydra.launcher.cluster=local")
    assert "#SBATCH" not in said and "seed=1" in said and "a b/sweep/1" in said


def test_a_setting_that_submitit_does_not_know_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        printed(tmp_path, "slurm=a100x8", "+hydra.launcher.colour=red")
    assert "colour" in error.value.stderr + error.value.stdout
