"""A sink on a thread of its own: whatever it does, the run waits no longer than was said."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Protocol

from fullcontext.track.identity import without_secrets

log = logging.getLogger("fullcontext")
Figures = dict[str, Path]
"""Name of a figure -> PNG file."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people and for plots."""

    columns: tuple[str, ...]
    rows: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Attachment:
    """Files of the run folder that are kept with the run."""

    name: str
    kind: str
    paths: tuple[Path, ...]
    """Files, or one folder."""
    by_reference: bool = False
    """Notes where they are instead of copying them."""


class Sink(Protocol):
    """One tracker. Everything is called on one and the same thread, and may raise anything."""

    title: str
    start_timeout_s: float
    finish_timeout_s: float

    def start(self) -> str:
        """Begins or continues the run; returns one line that says where the records are."""

    def retreat(self, error: BaseException) -> str:
        """Goes on where less can fail, and says so in one line; raises where there is nothing."""

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Scalars of a step."""

    def curves(self, step: int, table: Table, figures: Figures) -> None:
        """Depth curves of a step."""

    def attach(self, attachment: Attachment) -> None:
        """Files."""

    def finish(self, failed: bool) -> str | None:
        """Sends what is left; returns one line if not all of it arrived."""

    def abandon(self) -> None:
        """Makes sure that nothing of a sink that hangs holds the process at its exit."""

    def remedy(self) -> str:
        """How to get records into the tracker that did not go there."""


class Mirror:
    """Posts to a sink in order and never waits for it, but to start and to finish."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._on = True
        self._work: SimpleQueue[tuple[Callable[[], str | None], Event]] = SimpleQueue()
        Thread(target=self._serve, name=f"mirror-{sink.title}", daemon=True).start()
        self._wait(sink.start, sink.start_timeout_s, "start")

    def post(self, action: Callable[[Sink], None]) -> None:
        """Has the sink do something, soon."""
        if self._on:
            self._work.put((lambda: action(self.sink), Event()))

    def finish(self, failed: bool) -> None:
        """Ends within the sink's `finish_timeout_s`, whatever happens to the records there."""
        self._wait(lambda: self.sink.finish(failed), self.sink.finish_timeout_s, "finish")
        self._on = False

    def _wait(self, action: Callable[[], str | None], seconds: float, what: str) -> None:
        if not self._on:
            return
        done = Event()
        self._work.put((action, done))
        if not done.wait(seconds):
            self._on = False
            self._say(f"did not {what} within {seconds:g} s")
            self.sink.abandon()

    def _serve(self) -> None:
        while True:
            action, done = self._work.get()
            try:
                if self._on:
                    self._do(action)
            finally:
                done.set()

    def _do(self, action: Callable[[], str | None]) -> None:
        try:
            word = action()
            if word and self._on:
                log.info("%s", word)
        except BaseException as error:  # whatever a tracker does, the run goes on
            self._retreat(error, action)

    def _retreat(self, error: BaseException, action: Callable[[], str | None]) -> None:
        try:
            word = self.sink.retreat(error)
            action()
        except BaseException as worse:
            if self._on:
                self._on = False
                self._say(f"failed ({reason(worse)})")
                self.sink.abandon()
        else:
            log.warning("%s", word)

    def _say(self, what: str) -> None:
        log.warning(
            "%s %s; the run goes on without it and the run folder has every record: %s",
            self.sink.title, what, self.sink.remedy(),
        )  # fmt: skip


def reason(error: BaseException) -> str:
    """The first line of an error, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "))
