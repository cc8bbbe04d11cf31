"""A sink on a thread of its own: whatever it does, the run waits no longer than was said."""

import logging
import time
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

    def put_in(self, artifact: Any) -> Any:
        """The artifact of wandb or trackio, whose methods are alike, with the files in it."""
        for path in self.paths:
            if self.by_reference:
                artifact.add_reference(path.resolve().as_uri(), checksum=False)
            elif path.is_dir():
                artifact.add_dir(str(path))
            else:
                artifact.add_file(str(path))
        return artifact


class Sink(Protocol):
    """One tracker; everything may raise anything. `attach` and `curves` come on a thread of their
    own, beside the others."""

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
    """Posts to a sink in order and never waits for it, but to start and to finish.

    Scalars have a thread of their own: files and tables, for which W&B asks its server things,
    cannot hold them up.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._on = True
        self._has_retreated = False
        self._refused: list[tuple[str, Callable[[Sink], None], BaseException]] = []
        self._scalars = _Lane(f"{sink.title}-scalars")
        self._files = _Lane(f"{sink.title}-files")
        self._wait(self._guarded(sink.start), sink.start_timeout_s, "start")

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Scalars of a step, soon; a sink that fails retreats."""
        if self._on:
            self._scalars.post(self._guarded(lambda: self.sink.log(step, values)))

    def keep(self, what: str, action: Callable[[Sink], None]) -> None:
        """Files and tables, in their time; what a sink does not take is tried once more at the end,
        when it may have retreated."""

        self._files.post(lambda: self._attempt(what, action))

    def finish(self, failed: bool) -> None:
        """Ends within the sink's `finish_timeout_s`, whatever happens to the records there."""
        until = time.monotonic() + self.sink.finish_timeout_s
        if self._on:
            self._scalars.drained(self.sink.finish_timeout_s / 4)
            self._hand_over_files(until - self.sink.finish_timeout_s / 2)
            self._wait(
                self._guarded(lambda: self._close(failed)), until - time.monotonic(), "finish"
            )
        if self._on:
            for what, _, error in self._refused:
                log.warning("%s did not take %s (%s)", self.sink.title, what, reason(error))
        self._on = False

    def _attempt(self, what: str, action: Callable[[Sink], None]) -> None:
        try:
            if self._on:
                action(self.sink)
        except BaseException as error:
            self._refused.append((what, action, error))

    def _hand_over_files(self, until: float) -> None:
        if self._files.drained(until - time.monotonic()) and self._refused:
            for what, action, _ in self._all_refused():
                self.keep(what, action)
            self._files.drained(until - time.monotonic())

    def _all_refused(self) -> list[tuple[str, Callable[[Sink], None], BaseException]]:
        refused, self._refused = self._refused, []
        return refused

    def _close(self, failed: bool) -> str | None:
        """Finishes; a sink that could not and has retreated is given the files it lost, first."""
        if self._has_retreated:
            for what, action, _ in self._all_refused():
                self._attempt(what, action)
        return self.sink.finish(failed)

    def _wait(self, action: Callable[[], None], seconds: float, what: str) -> None:
        if not self._scalars.post(action).wait(seconds):
            self._on = False
            self._say(f"did not {what} in time")
            self.sink.abandon()

    def _guarded(self, action: Callable[[], str | None]) -> Callable[[], None]:
        """Says what the action returns; if it fails, has the sink retreat and tries again."""

        def tried() -> None:
            if not self._on:
                return
            try:
                word = action()
            except BaseException as error:  # whatever a tracker does, the run goes on
                self._retreat(error, action)
            else:
                if word and self._on:
                    log.info("%s", word)

        return tried

    def _retreat(self, error: BaseException, action: Callable[[], str | None]) -> None:
        try:
            word = self.sink.retreat(error)
            self._has_retreated = True
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


class _Lane:
    """Does one thing after another on a thread that no exit waits for."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[tuple[Callable[[], None], Event]] = SimpleQueue()
        Thread(target=self._serve, name=name, daemon=True).start()

    def post(self, action: Callable[[], None]) -> Event:
        """Is set when the action is over; actions raise nothing."""
        done = Event()
        self._work.put((action, done))
        return done

    def drained(self, seconds: float) -> bool:
        """Waits so long for all that was posted; whether it is over."""
        return self.post(lambda: None).wait(seconds)

    def _serve(self) -> None:
        while True:
            action, done = self._work.get()
            action()
            done.set()


def reason(error: BaseException) -> str:
    """The first line of an error, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "))
