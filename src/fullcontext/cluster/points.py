"""sweep.json of a sweep folder: its points, and the job that was asked to make each."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fullcontext.cluster import slurm
from fullcontext.store import write_aside

KEPT = "sweep.json"


@dataclass(slots=True)
class Point:
    """One run of a sweep."""

    folder: str
    """Run folder; relative to the sweep folder where it lies in it."""
    overrides: list[str]
    cluster: str = ""
    """Where it was submitted: "slurm", or "local" for a process of this machine."""
    job: str | None = None
    """`12_3`, a process id, or None if it never was submitted: it was finished already."""
    log: str | None = None
    """What the job's first task wrote to stderr, relative to the sweep folder."""


def read(sweep: Path) -> list[Point]:
    """The points of a sweep, in the order in which they were first launched."""
    path = sweep / KEPT
    return [Point(**each) for each in json.loads(path.read_text())] if path.exists() else []


def note(sweep: Path, points: list[Point]) -> None:
    """Writes points down; those of earlier launches stay, those of the same folder are replaced."""
    known = {point.folder: point for point in read(sweep)}
    known |= {point.folder: point for point in points}
    records = [asdict(point) for point in known.values()]
    write_aside(sweep / KEPT, json.dumps(records, indent=1) + "\n")


def states(points: list[Point]) -> dict[str, str]:
    """Folder of each point that has a job -> the state of that job."""
    found: dict[str, str] = {}
    for cluster, ask in (("slurm", slurm.states), ("local", slurm.process_states)):
        jobs = {point.folder: point.job for point in points if point.cluster == cluster}
        asked = {folder: job for folder, job in jobs.items() if job}
        known = ask(asked.values()) if asked else {}
        found |= {folder: known[job] for folder, job in asked.items()}
    return found
