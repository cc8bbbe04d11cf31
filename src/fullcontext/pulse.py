"""Signs of life between ranks, so that a run that loses one says which.

A collective whose partner is gone fails without saying who that was, or waits. Each rank therefore
writes a rising number into the store all share; one that falls silent, or that wrote why it
failed, is named by all the others.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any

from fullcontext.compose import ConfigError

MISSED = 3
"""Beats after which a rank counts as silent."""
SILENT, APART = "given no sign of life", "the ranks lost each other"
_blocks = count()


def names_lost_rank(error: str) -> bool:
    """Whether an error says that ranks were lost: the fault may be that of their machines."""
    return SILENT in error or APART in error


class _Pulse:
    """The beats of this rank, and when each other was last heard."""

    def __init__(self, rank: int, size: int, timeout_s: float) -> None:
        self.rank, self.size, self.timeout_s = rank, size, timeout_s
        self.every = min(2.0, max(0.1, timeout_s / 10))
        self._own = 0
        self._heard = [("", time.monotonic())] * size
        """For each rank what it wrote last, and when that changed."""
        self._ended = threading.Event()
        self._store = _store()
        self._say(str(self._own))
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def _say(self, text: str) -> None:
        self._store.set(f"{self.rank}", text)

    def _run(self) -> None:
        while not self._ended.wait(self.every):
            self._own += 1
            with suppress(RuntimeError):  # the store's own rank is gone: all fall silent at once
                self._say(str(self._own))
                self._listen()

    def _listen(self) -> None:
        keys = [str(rank) for rank in range(self.size)]
        if not self._store.check(keys):
            return  # some have not begun; the meeting has its own timeout
        for rank, value in enumerate(self._store.multi_get(keys)):
            text = value.decode()
            if text != self._heard[rank][0]:
                self._heard[rank] = (text, time.monotonic())

    def end(self, text: str) -> None:
        """Stops beating, with a last word."""
        self._ended.set()
        self._thread.join(self.every)
        with suppress(RuntimeError):
            self._say(text)

    def culprit(self) -> str | None:
        """Who has failed or fallen silent, found within a few beats; None if all are there."""
        until = time.monotonic() + (MISSED + 2) * self.every
        while time.monotonic() < until:
            for rank, (text, _) in enumerate(self._heard):
                if text.startswith("failed"):
                    return f"rank {rank} {text}"
            silent = self._silent()
            if silent and len(silent) < self.size - 1:
                return self._named(silent)
            time.sleep(self.every / 4)
        silent = self._silent()
        return self._named(silent) if silent else None

    def _silent(self) -> list[int]:
        bound = time.monotonic() - MISSED * self.every
        return [
            rank
            for rank, (text, when) in enumerate(self._heard)
            if rank != self.rank and when < bound and text != "left"
        ]

    def _named(self, silent: list[int]) -> str:
        ranks = ", ".join(map(str, silent))
        since = time.monotonic() - min(self._heard[rank][1] for rank in silent)
        return f"rank {ranks} has {SILENT} for {since:.0f} s"


def _store() -> Any:
    """An own connection: that of the process group may be waiting in a collective."""
    from torch._C._distributed_c10d import PrefixStore, TCPStore

    from fullcontext import launch

    launch.meeting()  # rank 0 may have to open the store first
    client = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=launch.MEETING_S),
    )
    return PrefixStore(f"pulse{next(_blocks)}", client)


@contextmanager
def beating(rank: int, size: int, timeout_s: float) -> Iterator[None]:
    """Gives signs of life inside the block, and turns a broken collective into who broke it.

    Raises ConfigError naming the rank.
    """
    pulse = _Pulse(rank, size, timeout_s)
    try:
        yield
    except BaseException as error:
        if not _is_collective(error):
            why = "left" if isinstance(error, SystemExit) else f"failed ({_first_line(error)})"
            pulse.end(why)
            raise
        found = pulse.culprit()
        pulse.end("left")
        if found is None:
            raise ConfigError(
                f"{APART} ({_first_line(error)}) though all give signs of life:"
                f" one was busy elsewhere for sharding.timeout_s={timeout_s:g} seconds, or the"
                " network failed; raise it, and go on with resume="
            ) from error
        raise ConfigError(
            f"{found}; rank {rank} stops. Look at that rank's own messages, then go on from the"
            " newest checkpoint with resume="
        ) from error
    pulse.end("left")


def _is_collective(error: BaseException) -> bool:
    import torch.distributed as dist

    if isinstance(error, dist.DistError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        word in text for word in ("gloo", "NCCL", "Connection closed by peer", "ProcessGroup")
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
