"""Who runs: rank, world size and device, and the signal that asks to stop."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch

from fullcontext.compose import ConfigError

STOPPED = 75
"""Exit status of a run that was asked to stop, saved, and can go on (EX_TEMPFAIL)."""


@dataclass(frozen=True, slots=True)
class World:
    """One process among `size`."""

    rank: int
    size: int
    device: torch.device


class StopFlag:
    """Set by SIGTERM, SIGINT, SIGUSR1 or SIGUSR2; the loop saves after the current step."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.name: str | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.name and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice by hand: at once, without saving
        self.name = signal.Signals(number).name

    @contextmanager
    def listening(self) -> Iterator["StopFlag"]:
        """Handles the signals inside the block, and gives them back after."""
        before = {number: signal.signal(number, self) for number in self.SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def world(threads: int | None = None) -> Iterator[World]:
    """The process's place. Several processes are refused until sharding is built."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1:
        raise ConfigError(
            f"WORLD_SIZE={size}, but this version trains in one process; start it without torchrun"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    yield World(rank=0, size=1, device=device)
