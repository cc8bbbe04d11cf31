"""Where each point of a sweep is: queued, running at step s, preempted n times, failed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fullcontext.cluster import attempts, points, slurm
from fullcontext.cluster.attempts import Attempt, How
from fullcontext.cluster.points import Point
from fullcontext.compose import ConfigError

_QUEUED = (slurm.PENDING, "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED")
_KILLED = {
    "TIMEOUT": "its time ended before it had saved; raise timeout_min or signal_delay_s",
    "OUT_OF_MEMORY": "out of memory; ask for more with mem_gb",
    "NODE_FAIL": "its node failed, and the job is not to be requeued",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one point is."""

    folder: str
    settings: str
    """Its overrides, but for those that all points have."""
    state: str
    """queued, starting, running, finishing, stopped, finished, failed, cancelled, lost; of a run
    that no launcher submitted, what it says itself."""
    step: int
    steps: int
    interrupted: int
    """How often its job had to begin again: preempted, out of time, requeued, its node gone."""
    job: str
    error: str

    def line(self) -> str:
        """One line for people."""
        said = self.state
        if (self.step and self.state != "finished") or self.state == "running":
            said += f" at step {self.step}" + (f" of {self.steps}" if self.steps else "")
        if self.interrupted:
            said += f", preempted {self.interrupted} time" + "s" * (self.interrupted > 1)
        if self.job and self.state not in ("finished", "failed"):
            said += f" (job {self.job})"
        return f"{said}: {self.error}" if self.error else said


def read(sweep: Path) -> list[Place]:
    """The points of a sweep folder, or the runs in any other.

    Raises ConfigError if there are none.
    """
    known = points.read(sweep) if sweep.is_dir() else []
    folders = {(sweep / point.folder).resolve() for point in known}
    found = sorted({*sweep.glob("status.json"), *sweep.glob("*/status.json")})
    others = [path.parent for path in found if path.parent.resolve() not in folders]
    known += [Point(str(path.relative_to(sweep)), []) for path in others]
    if not known:
        raise ConfigError(
            f"status: no sweep and no run in {sweep}; name the folder that hydra.sweep.dir was"
        )
    states = points.states(known)
    common = set.intersection(*(set(point.overrides) for point in known))
    return [_place(sweep, point, states.get(point.folder, ""), common) for point in known]


def text(sweep: Path, places: list[Place]) -> str:
    """A table for a terminal."""
    counts = Counter(place.state for place in places)
    said = ", ".join(f"{number} {state}" for state, number in counts.most_common())
    widths = [max(len(row) for row in column) for column in _columns(places)]
    lines = [
        f"{place.folder:{widths[0]}}  {place.settings:{widths[1]}}  {place.line()}".rstrip()
        for place in places
    ]
    return "\n".join([f"{sweep}: {said}", *lines]) + "\n"


def _columns(places: list[Place]) -> Iterable[list[str]]:
    return [place.folder for place in places], [place.settings for place in places]


def _place(sweep: Path, point: Point, state: str, common: set[str]) -> Place:
    folder = sweep / point.folder
    status = attempts.status(folder)
    made = [each for each in attempts.read(folder) if each.job == point.job]
    said, error = _state(state, str(status["state"]), made[-1] if made else None)
    return Place(
        folder=point.folder,
        settings=" ".join(word for word in point.overrides if word not in common),
        state=said,
        step=int(status["step"]),
        steps=int(status["steps"]),
        interrupted=_interruptions(made, state),
        job=point.job or "",
        error=error or (str(status["error"] or "") if said == "failed" else ""),
    )


def _interruptions(made: list[Attempt], state: str) -> int:
    """A job that waits again has been interrupted as often as it began, else once less."""
    waits = state == slurm.PENDING and bool(made)
    return max(0, len(made) - (not waits)) if made else 0


def _state(state: str, status: str, last: Attempt | None) -> tuple[str, str]:
    """What a point does, by what the queue, its status.json and its last attempt say; and why."""
    if status == "finished" and (last is None or last.how == How.finished):
        return "finished", ""
    if state in _QUEUED:
        return "queued", ""
    if state and state in slurm.ENDED:
        return _ended(state, last)
    why = "SLURM does not answer" if state == slurm.UNREACHABLE else ""
    if state == slurm.RUNNING and status == "finished":
        status = "finishing"
    elif state == slurm.RUNNING and status != "running":
        status = "starting"  # what it says is of the attempt before
    return status or "unknown", why


def _ended(state: str, last: Attempt | None) -> tuple[str, str]:
    """Of a point that is not finished, though its job is over."""
    how = last.how if last else None
    if state == "CANCELLED":
        return "cancelled", ""
    if last is not None and how in (How.failed, How.lost):
        return "failed", last.error or ""
    if state == "FAILED" or state in _KILLED:
        return "failed", _KILLED.get(state, "its job failed before the run began; look at its log")
    if how == How.stopped:
        return "stopped", "its job ended and is not requeued; relaunch it"
    return "lost", "its job is not in the queue any more, and did not say why; relaunch it"
