"""status.json of a run folder."""

import json
import time
from pathlib import Path

from fullcontext.store import write_aside

EVERY_S = 2.0


class Status:
    """status.json: where the run is, for people and for the report."""

    def __init__(self, folder: Path, name: str, steps: int, is_main: bool = True) -> None:
        self.folder, self.name, self.steps = folder, name, steps
        self.is_main = is_main
        """Whether this rank writes; the others only keep `state`."""
        self.id, self.state = "", "starting"
        self.ranks, self.device = 1, ""
        """How many processes train, and on what: "cuda" or "cpu"; hours of devices come of it."""
        self.value: float | None = None
        """What the run gives to a sweep that optimises: its last loss, when it is finished."""
        self._step, self._seconds, self._written = 0, 0.0, 0.0

    def tick(self, step: int, seconds: float) -> None:
        """Writes now and then."""
        self._step, self._seconds = step, seconds
        if time.monotonic() - self._written > EVERY_S:
            self.write("running", step, seconds)

    def write(
        self, state: str, step: int | None = None, seconds: float | None = None,
        error: str | None = None,
    ) -> None:  # fmt: skip
        """Writes at once."""
        self.state = state
        if not self.is_main:
            return
        self._written = time.monotonic()
        record = {
            "verb": "train",
            "name": self.name,
            "id": self.id,
            "state": state,
            "step": self._step if step is None else step,
            "steps": self.steps,
            "error": error,
            "seconds": round(self._seconds if seconds is None else seconds, 3),
            "ranks": self.ranks,
            "device": self.device,
            "value": self.value,
        }
        write_aside(self.folder / "status.json", json.dumps(record, indent=1))


def named(folder: Path) -> str | None:
    """What the folder's run was called when it began: `resume=` is told no experiment."""
    path = folder / "status.json"
    return str(json.loads(path.read_text())["name"]) if path.exists() else None
