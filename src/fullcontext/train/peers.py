"""The ranks that write or read one checkpoint together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException

T = TypeVar("T")


class PeerError(RuntimeError):
    """What one rank could not do; raised on every rank, so that none waits for it."""


@dataclass(frozen=True, slots=True)
class Peers:
    """All ranks, over a gloo group of their own: files are written while training goes on, and
    the messages of both must not mix. Alone, every method is the identity."""

    rank: int = 0
    size: int = 1
    group: Any = None

    @classmethod
    def found(cls) -> "Peers":
        """All ranks of the process group that is up; every rank has to call this."""
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return cls()
        return cls(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))

    @property
    def is_first(self) -> bool:
        """Whether this rank does what is done once."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """What every rank gave, in order of rank, on every rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.group)
        return found

    def together(self, work: Callable[[], T]) -> list[T]:
        """Does `work` on every rank and gathers what it returned.

        Raises PeerError on every rank if it failed on one, naming that rank and the cause.
        """
        value, fault, cause = None, None, None
        try:
            value = work()
        except (Exception, CheckpointException) as error:  # torch's is not an Exception
            cause, fault = error, _blame(error, self.rank)
        for found in self.gather(fault):
            if found is not None:
                rank, text = found
                raise PeerError(text if self.size == 1 else f"rank {rank}: {text}") from cause
        return self.gather(value)  # type: ignore[arg-type] # no fault: it is there

    def first(self, work: Callable[[], T]) -> T:
        """What `work` returns on rank 0, on every rank. Raises PeerError on every rank."""
        return self.together(lambda: work() if self.is_first else None)[0]  # type: ignore[return-value] # rank 0 worked


ALONE = Peers()


def _blame(error: BaseException, rank: int) -> tuple[int, str]:
    """Who failed, and the first line of why; torch wraps the errors of all ranks into one."""
    if isinstance(error, CheckpointException):
        rank, (inner, _) = next(iter(error.failures.items()))
        return _blame(inner, rank)
    lines = str(error).strip().splitlines()
    return rank, lines[0] if lines else type(error).__name__
