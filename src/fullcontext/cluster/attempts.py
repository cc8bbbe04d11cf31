"""job.json of a run folder: each time a job took the run up, how far it came, and why it ended.

It also says whose turn it is: a process that finds another attempt after its own has been replaced
(its node was thought dead, its job began elsewhere) and has to leave the run to that one.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from fullcontext.store import write_aside

KEPT = "job.json"
STATUS = "status.json"


class How(StrEnum):
    """How an attempt ended."""

    finished = "finished"
    stopped = "stopped"
    """Asked to, and saved: it goes on."""
    lost = "lost a rank"
    failed = "failed"


@dataclass(slots=True)
class Attempt:
    """A job, or a restart of one, that worked on a run."""

    job: str
    restart: int
    """How often SLURM had restarted the job before."""
    node: str
    began: str
    ended: str | None = None
    how: str | None = None
    """A value of `How`; None while it works, or if it was killed."""
    step: int = 0
    """Steps done at its end."""
    error: str | None = None


def read(folder: Path) -> list[Attempt]:
    """The attempts at a run, the oldest first."""
    path = folder / KEPT
    return [Attempt(**each) for each in json.loads(path.read_text())] if path.exists() else []


def number(folder: Path) -> int:
    """Of the newest attempt, from 1."""
    return len(read(folder))


def begin(folder: Path, job: str, restart: int) -> int:
    """Notes that an attempt begins; its number, by which it knows whether it is the newest."""
    known = read(folder)
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    known.append(Attempt(job, restart, node, _now(), step=int(status(folder)["step"])))
    _write(folder, known)
    return len(known)


def end(folder: Path, number: int, how: How, error: str | None = None) -> None:
    """Notes how an attempt ended."""
    known = read(folder)
    own = known[number - 1]
    own.ended, own.how, own.error = _now(), how.value, error
    own.step = int(status(folder)["step"])
    _write(folder, known)


def idle(folder: Path) -> int:
    """How many of the last attempts in a row ended, unfinished, at the step of the last."""
    steps = [each.step for each in read(folder) if each.how in (How.stopped, How.lost)]
    further = [step != steps[-1] for step in reversed(steps)]
    return further.index(True) if True in further else len(steps)


def status(folder: Path) -> dict[str, Any]:
    """status.json of the run; one that has none yet is at step 0."""
    path = folder / STATUS
    found = json.loads(path.read_text()) if path.exists() else {}
    return {"state": "", "step": 0, "steps": 0, "error": None, **found}


def written(folder: Path) -> int:
    """When status.json was written, in ns; 0 if it was not."""
    path = folder / STATUS
    return path.stat().st_mtime_ns if path.exists() else 0


def _write(folder: Path, attempts: list[Attempt]) -> None:
    write_aside(folder / KEPT, json.dumps([asdict(each) for each in attempts], indent=1) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
