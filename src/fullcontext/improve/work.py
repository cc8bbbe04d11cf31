"""Work on one problem after another, by any number of processes, each record kept as it comes.

    FOLDER/part-0-of-2.jsonl     what a process has done; a kill loses the record it was making
    FOLDER/<name>.jsonl          all records in the order of the problems, when all are there
    FOLDER/manifest.json         last

A record depends on its problem and the settings alone, so the finished file is the same whoever
made which part.
"""

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fullcontext import stage
from fullcontext.compose import ConfigError
from fullcontext.launch import StopFlag
from fullcontext.store import fingerprint, read_lines, write_aside

Record = dict[str, Any]
SETTINGS = "settings.json"


class Work:
    """The records of a stage, one for each problem, by its id."""

    def __init__(
        self, folder: Path, ids: Sequence[str], settings: dict[str, Any], part: int, parts: int
    ) -> None:
        """Raises ConfigError if the folder was begun with other settings."""
        self.folder, self.ids, self.settings = folder, ids, settings
        self.part, self.parts = part, parts
        self.file = folder / f"{folder.name}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.is_finished = stage.finished(folder, settings)
        if not self.is_finished:
            self._begin()

    def _begin(self) -> None:
        """The settings stand beside the records from the first one on."""
        refuse_others(self.folder, self.settings)
        path = self.folder / SETTINGS
        if not path.exists():
            whole = fingerprint(self.settings)
            write_aside(path, json.dumps({"whole": whole, **self.settings}, indent=1))

    def left(self) -> list[int]:
        """Places of this process's problems that nobody has done."""
        done = {record["id"] for _, record in self._records()}
        own = range(self.part, len(self.ids), self.parts)
        return [place for place in own if self.ids[place] not in done]

    def _records(self) -> Iterator[tuple[Path, Record]]:
        for path in sorted(self.folder.glob("part-*.jsonl")):
            try:
                for record in read_lines(path):
                    yield path, record
            except ValueError as error:
                raise ConfigError(
                    f"{path} holds a line that is no record ({error}); delete the file: what it"
                    " held is done again"
                ) from error

    @contextmanager
    def keeping(self) -> Iterator[Callable[[Record], None]]:
        """Appends records; each is in the kernel's hands when the call returns.

        Raises ConfigError if another process does the same part.
        """
        path = self.folder / f"part-{self.part}-of-{self.parts}.jsonl"
        with path.open("ab+", buffering=0) as file:
            _lock(file, path)
            _cut(file)
            yield lambda record: _append(file, record)

    def each(self, make: Callable[[int], Record], stop: StopFlag) -> None:
        """Does what is left, a problem at a time. Raises SystemExit(75) after a stop signal."""
        left = self.left()
        if not left:
            return
        from rich.progress import track

        with self.keeping() as keep:
            for place in track(left, self.folder.name, transient=True):
                keep(make(place))
                stop.heed()

    def finish(self, facts: Callable[[list[Record]], dict[str, Any]]) -> bool:
        """Writes all records in order, with what is to be said of them; False if some are missing.

        The caller holds the lock of the round.
        """
        if stage.finished(self.folder, self.settings):
            return True
        found = {record["id"]: record for _, record in self._records()}
        if not set(self.ids) <= set(found):
            return False
        records = [found[id] for id in self.ids]
        write_aside(self.file, "".join(map(_line, records)))
        stage.finish(self.folder, self.settings, [self.file.name], **facts(records))
        for path in self.folder.glob("part-*.jsonl"):
            path.unlink()
        (self.folder / SETTINGS).unlink(missing_ok=True)
        return True


def refuse_others(folder: Path, settings: dict[str, Any]) -> None:
    """Raises ConfigError if the work in a folder was begun with other settings."""
    path = folder / SETTINGS
    try:
        begun = json.loads(path.read_text("utf-8"))["whole"]
    except FileNotFoundError:  # not begun, or finished a moment ago
        return
    if begun != fingerprint(settings):
        raise ConfigError(
            f"{folder} was begun with other settings (they are in {path}); choose another name=,"
            " or delete the folder"
        )


def _line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=True) + "\n"


def _append(file: IO[bytes], record: Record) -> None:
    line = _line(record).encode()
    if file.write(line) != len(line):
        raise ConfigError(
            f"a record cannot be kept in {file.name}: the disk is full; make room and run the same"
            " command again"
        )


def _cut(file: IO[bytes]) -> None:
    """Takes away a last line that a kill has cut."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        file.truncate(end)


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"another process appends to {path}; wait for it, stop it, or run as another part"
        ) from None
