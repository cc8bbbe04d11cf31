"""Why a process ended, by what it wrote to stderr."""

from pathlib import Path

_MOST = 200_000
"""Bytes of the end of a log that are looked at."""


class Log:
    """A log from here on: a restarted job appends to that of its former attempts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = path.stat().st_size if path.exists() else 0

    def error(self) -> str:
        """The line that says best what failed: see `last_error`."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(max(self.start, self.path.stat().st_size - _MOST))
            return last_error(file.read().decode(errors="replace"))


def last_error(text: str) -> str:
    """The last `error: ...`, else the last exception, else the last line.

    Torchrun's own summary, which follows what its workers said, counts only as a last line.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if _is_exception(line)]
    return (said or raised or lines or [""])[-1].removeprefix("error: ")


def _is_exception(line: str) -> bool:
    name = line.partition(":")[0].rpartition(".")[2]
    return (
        name.isidentifier() and name.endswith(("Error", "Exception")) and "ChildFailed" not in name
    )
