"""Every reply is kept as it arrives and never asked for again, whatever kills the process.

    FOLDER/<fingerprint of the model's name>/<group>-<part>[-of-<share>].jsonl

Processes that work side by side append to a file of their own each, and read all files when they
begin. A line holds the key of the request (a hash: never the prompt), the reply and what it cost.
In memory there are 20 bytes a reply; texts are read from disk.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.llm import Completion, Message, Model, Refused, Request, Scorer
from fullcontext.llm.meter import Meter
from fullcontext.store import fingerprint

_LINE = re.compile(rb'\{"key": "([0-9a-f]{32})", "tokens_in": (\d+), "tokens_out": (\d+), .*\}\n')
_CHUNK = 4096


class _Place(NamedTuple):
    """Where a line begins: index of its file, byte."""

    file: int
    offset: int


class Remembered:
    """A model whose replies and final refusals are kept in a folder; itself a model.

    Raises ConfigError if another process writes the same part.
    """

    def __init__(self, model: Model, folder: Path, part: str, meter: Meter) -> None:
        self.name = model.name
        self._model = model
        self._meter = meter
        home = folder / fingerprint(model.name)
        home.mkdir(parents=True, exist_ok=True)
        meter.kept = home
        share = f"-of-{meter.share}" if meter.share > 1 else ""
        own = home / f"{meter.group}-{part}{share}.jsonl"
        self._file = own.open("ab", buffering=0)
        _lock(self._file, own)
        files = [own, *sorted(path for path in home.glob("*.jsonl") if path != own)]
        self._read: list[IO[bytes]] = []
        self._new: dict[bytes, int] = {}
        """Key -> offset in the own file, of what came since the beginning."""
        self._asked: dict[str, asyncio.Future[Completion | None]] = {}
        try:
            self._read = [path.open("rb") for path in files]
            self._index = _Index()
            for i, path in enumerate(files):
                self._take_in(i, self._share_of(path, own))
            self._index.settle()
        except BaseException:
            self._close_files()
            raise

    def _share_of(self, path: Path, own: Path) -> int | None:
        """By what to divide what a file's replies cost; None where another part answers for it.

        The parts of one division each count their own file; a file of another division, or of
        another number of processes, was paid by all, so each counts its share.
        """
        group, share = self._meter.group, self._meter.share
        if not path.name.startswith(f"{group}-"):
            return None
        if path == own or share == 1:
            return 1
        return None if path.name.endswith(f"-of-{share}.jsonl") else share

    def _take_in(self, i: int, share: int | None) -> None:
        """Indexes a file; the own one loses a last line that a kill cut off."""
        offset = tokens_in = tokens_out = 0
        for line in self._read[i]:
            if not line.endswith(b"\n"):
                break
            if match := _LINE.fullmatch(line):
                self._index.add(bytes.fromhex(match[1].decode()), i, offset)
                tokens_in += int(match[2])
                tokens_out += int(match[3])
            else:
                self._meter.notes["damaged lines among the kept replies"] += 1
            offset += len(line)
        if i == 0:
            self._file.truncate(offset)
            self._end = offset
        if share is not None:
            self._meter.add_earlier(tokens_in, tokens_out, share)

    async def complete(self, request: Request) -> Completion:
        """The kept reply, or the model's, which is then kept. Raises what the model raises."""
        key = request.key(self.name)
        while True:
            if (record := self._find(key)) is not None:
                self._meter.hits += 1
                return _reply(record)
            if (flying := self._asked.get(key)) is None:
                return await self._ask(key, request)
            if (completion := await asyncio.shield(flying)) is not None:
                self._meter.hits += 1
                return completion
            # Who asked was cancelled; now it is our turn.

    async def answer_nll(self, messages: tuple[Message, ...], answer: str) -> float:
        """Likewise for a model that is a llm.Scorer, the model in this process (llm/local.py)."""
        asked = [self.name, [[one.role, one.content] for one in messages], answer]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
        if (record := self._find(key)) is not None:
            self._meter.hits += 1
            return float(record["nll"])
        nll = await cast(Scorer, self._model).answer_nll(messages, answer)
        self._keep(key, 0, 0, {"nll": nll})
        return nll

    async def _ask(self, key: str, request: Request) -> Completion:
        flying = self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            completion = await self._model.complete(request)
            self._keep(key, completion.tokens_in, completion.tokens_out, {
                "finish": completion.finish, "text": completion.text,
            })  # fmt: skip
        except Exception as error:
            if isinstance(error, Refused) and error.is_final:
                self._keep(key, error.tokens_in, error.tokens_out, {
                    "refused": str(error), "detail": error.detail,
                })  # fmt: skip
            flying.set_exception(error)
            flying.exception()  # seen, even if nobody else waits for it
            raise
        else:
            flying.set_result(completion)
            return completion
        finally:
            del self._asked[key]
            if not flying.done():
                flying.set_result(None)

    def _keep(self, key: str, tokens_in: int, tokens_out: int, rest: dict[str, Any]) -> None:
        """Appends a record; in the kernel's hands when this returns, so a kill loses nothing."""
        record = {"key": key, "tokens_in": tokens_in, "tokens_out": tokens_out}
        # ASCII, so that lone surrogates and odd line ends of a reply cannot break the line.
        line = (json.dumps({**record, **rest, "model": self.name}) + "\n").encode()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(28, "no space left")
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise ConfigError(
                f"a reply cannot be kept in {self._file.name} ({error}); make room and run the"
                " same command again: what was kept before is whole"
            ) from error
        self._new[bytes.fromhex(key)] = self._end
        self._end += len(line)

    def _find(self, key: str) -> dict[str, Any] | None:
        raw = bytes.fromhex(key)
        if (offset := self._new.get(raw)) is not None:
            return self._line(_Place(0, offset))
        for place in self._index.places(raw):
            record = self._line(place)
            if record["key"] == key:
                return record
        return None

    def _line(self, place: _Place) -> dict[str, Any]:
        handle, offset, line = self._read[place.file].fileno(), place.offset, b""
        while not line.endswith(b"\n"):
            chunk = os.pread(handle, _CHUNK, offset)
            if not chunk:
                raise ConfigError(
                    f"{self._read[place.file].name} became shorter while it was read; let nothing"
                    " else write there and run the same command again"
                )
            line += chunk[: chunk.find(b"\n") + 1 or len(chunk)]
            offset += len(chunk)
        record: dict[str, Any] = json.loads(line)
        return record

    async def close(self) -> None:
        """Closes the files, and the model."""
        self._close_files()
        await self._model.close()

    def _close_files(self) -> None:
        for file in (self._file, *self._read):
            file.close()


class _Index:
    """Sorted 8-byte beginnings of keys with file and offset: 20 bytes an entry.

    Beginnings may collide; whoever looks up compares the whole key of the line.
    """

    def __init__(self) -> None:
        self._starts = bytearray()
        self._places = bytearray()

    def add(self, key: bytes, file: int, offset: int) -> None:
        """Takes a line in; not findable before `settle`."""
        self._starts += key[:8]
        self._places += file.to_bytes(4, "little") + offset.to_bytes(8, "little")

    def settle(self) -> None:
        """Sorts what was taken in."""
        starts = np.frombuffer(self._starts, ">u8").astype(np.uint64)
        places = np.frombuffer(self._places, [("file", "<u4"), ("offset", "<u8")])
        order = np.argsort(starts, kind="stable")
        self._sorted, self._where = starts[order], places[order]
        self._starts, self._places = bytearray(), bytearray()

    def places(self, key: bytes) -> list[_Place]:
        """Lines whose key begins as this one."""
        start = np.uint64(int.from_bytes(key[:8], "big"))
        low = np.searchsorted(self._sorted, start, "left")
        high = np.searchsorted(self._sorted, start, "right")
        return [_Place(int(file), int(offset)) for file, offset in self._where[low:high]]


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(
            f"another process appends to {path}; wait for it, stop it, or run as another part"
        ) from None


def _reply(record: dict[str, Any]) -> Completion:
    tokens = record["tokens_in"], record["tokens_out"]
    if "refused" in record:
        raise Refused(record["refused"], *tokens, record["detail"])
    return Completion(record["text"], *tokens, record["finish"])
