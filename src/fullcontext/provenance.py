"""What a run was made from: code, packages, machine, settings; enough to make it again."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fullcontext.compose import ROOT, RunInfo, write_yaml
from fullcontext.store import write_aside

COMMIT = "commit.txt"
_DIFF_LIMIT = 1 << 20


def write(folder: Path, config: Any, info: RunInfo) -> None:
    """config.yaml, overrides.yaml, commit.txt and environment.txt."""
    write_aside(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(info.overrides)))
    write_aside(folder / COMMIT, commit())
    write_aside(folder / "environment.txt", environment())
    write_yaml(config, folder / "config.yaml")


def commit() -> str:
    """The SHA of the checkout and what differs from it; says so where there is no git.

    A copy of the code that a job runs (cluster/snapshot.py) holds what was true when it was made.
    """
    if (ROOT / COMMIT).exists():
        return (ROOT / COMMIT).read_text()
    sha = _git("rev-parse", "HEAD")
    if sha is None:
        return "not a git checkout\n"
    diff = _git("diff", "HEAD") or ""
    untracked = _git("ls-files", "--others", "--exclude-standard") or ""
    parts = [sha.strip(), "clean" if not diff and not untracked else "dirty"]
    if untracked:
        parts.append("untracked:\n" + untracked.rstrip())
    if len(diff) > _DIFF_LIMIT:
        diff = diff[:_DIFF_LIMIT] + f"\n[the diff is cut after {_DIFF_LIMIT} characters]"
    return "\n".join(parts) + "\n" + diff


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def environment() -> str:
    """Python, machine and the version of every installed package."""
    packages = sorted(
        {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
    )
    lines = [
        f"python {sys.version.split()[0]} on {platform.platform()}",
        f"{os.cpu_count()} CPUs, {platform.processor() or platform.machine()}",
        *packages,
    ]
    return "\n".join(lines) + "\n"
