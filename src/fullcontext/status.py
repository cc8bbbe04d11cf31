"""status.json of the verbs that measure: what state a run folder is in."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fullcontext.store import write_aside


@contextmanager
def kept(verb: str, name: str | None, id: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Keeps status.json true: running, then finished, or failed with the error's first line.

    What the block changes in the dict is written with the state it ends in.
    """
    started = time.monotonic()
    status: dict[str, Any] = {
        "verb": verb, "name": name, "id": id, "state": "running", "step": 0, "steps": 0,
        "error": None, "seconds": 0.0,
    }  # fmt: skip

    def write(state: str, error: str | None = None) -> None:
        status.update(state=state, error=error, seconds=round(time.monotonic() - started, 3))
        write_aside(folder / "status.json", json.dumps(status, indent=2) + "\n")

    write("running")
    try:
        yield status
    except BaseException as error:
        write("failed", (str(error).splitlines() or [type(error).__name__])[0])
        raise
    write("finished")
