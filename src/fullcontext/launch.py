"""Who runs: rank, world size and device, the signal that asks to stop, and who has died.

torch is imported where processes meet, not here: the place of a process is known without it.
"""

import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from fullcontext.compose import ConfigError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("fullcontext")

STOPPED = 75
"""Exit status of a run that was asked to stop, saved, and can go on (EX_TEMPFAIL)."""
STOPPED_STATUS = "FULLCONTEXT_STOPPED_STATUS"
"""Variable that replaces it: for torchrun's agent a worker that exits with 75 has failed."""
OVER_BUDGET = 76
"""Exit status of a run that saved and stopped because of `budget.gpu_hours`: it can go on with a
larger one, but is not to be queued again as it is."""
OVER_BUDGET_STATE = "over budget"
"""What its status.json says then."""
MEETING_S = 600
"""How long processes wait for each other before any setting is read."""
_groups = count()


class Place(NamedTuple):
    """Where a process stands among those that were started together."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    """Processes on this machine."""
    is_alone: bool
    """Whether nothing that starts several processes started this one."""


def place() -> Place:
    """Reads torchrun's variables; those of SLURM and submitit are put into torchrun's form.

    `srun` is known by the tasks of its *step*: an sbatch script that calls python itself has one
    process, however many tasks it asked for.
    """
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SUBMITIT_LOCAL_NTASKS")
    if "WORLD_SIZE" not in os.environ and int(tasks or 1) > 1:
        from submitit.helpers import TorchDistributedEnvironment

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
    rank, size = (int(os.environ.get(key, default)) for key, default in _PLACE.items())
    return Place(
        rank,
        size,
        local_rank=int(os.environ.get("LOCAL_RANK", rank)),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", size)),
        is_alone="WORLD_SIZE" not in os.environ,
    )


def stopped() -> SystemExit:
    """How a process that has saved ends."""
    return SystemExit(int(os.environ.get(STOPPED_STATUS, STOPPED)))


_PLACE = {"RANK": "0", "WORLD_SIZE": "1"}


@dataclass(frozen=True, slots=True)
class World:
    """One process among `size`."""

    rank: int
    size: int
    device: "torch.device"
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0


class StopFlag:
    """Set by SIGTERM, SIGINT, SIGUSR1 or SIGUSR2; the loop saves after the current step."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.name: str | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.name and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice by hand: at once, without saving
        self.name = signal.Signals(number).name

    def heed(self) -> None:
        """Raises SystemExit(75), saying so, after a signal; what is done has to be kept by then."""
        if self.name:
            log.info("stopped by %s; run the same command again to go on", self.name)
            raise SystemExit(STOPPED)

    def agree(self) -> bool:
        """Whether any rank was asked to stop; then all are. Every rank has to call this."""
        if not sum_floats([float(self.name is not None)])[0]:
            return False
        self.name = self.name or "a signal to another rank"
        return True

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
def world(threads: int | None = None, timeout_s: float = MEETING_S) -> Iterator[World]:
    """The process's place, with a process group inside the block if others were started with it.

    Raises ConfigError if there is no device for this rank, and, naming it, when another rank has
    failed or has fallen silent: at once where its connection breaks, else within `timeout_s`.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    here = place()
    made = World(here.rank, here.size, _device(here.local_rank), here.local_rank)
    if here.is_alone:
        yield made
        return
    from fullcontext import pulse

    with pulse.beating(here.rank, here.size, timeout_s), _group(made, timeout_s):
        yield made


@contextmanager
def _group(world: World, timeout_s: float) -> Iterator[None]:
    import torch.distributed as dist
    from torch._C._distributed_c10d import PrefixStore

    # gloo beside nccl: sums of floats and offloaded shards live on the CPU.
    backend = "cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend,
        store=PrefixStore(f"group{next(_groups)}", meeting()),
        rank=world.rank,
        world_size=world.size,
        timeout=timedelta(seconds=timeout_s),
    )
    yield
    dist.destroy_process_group()  # not after an error: it would wait for ranks that are gone


def _device(local_rank: int) -> "torch.device":
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = torch.cuda.device_count()
    if 1 < number <= local_rank:
        raise ConfigError(
            f"{number} GPUs are visible, none for local rank {local_rank}; start at most {number}"
            f" processes a machine (torchrun --nproc-per-node {number})"
        )
    device = torch.device("cuda", 0 if number == 1 else local_rank)
    torch.cuda.set_device(device)
    return device


@lru_cache(maxsize=1)
def meeting() -> Any:
    """The store through which the processes that were started together find each other."""
    from torch.distributed.rendezvous import rendezvous

    place()
    store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=MEETING_S)))
    return store


def first_said(key: str, value: str) -> str:
    """The value that the first of all ranks gave for `key`; one's own if there is one process."""
    if place().size == 1:
        return value
    return bytes(meeting().compare_set(f"fullcontext/{key}", "", value)).decode()


def _has_others() -> bool:
    import torch.distributed as dist

    return dist.is_initialized() and dist.get_world_size() > 1


def sum_floats(values: Sequence[float]) -> list[float]:
    """Sums over ranks, place by place, in float64; every rank has to call this."""
    if not _has_others():
        return list(values)
    import torch
    import torch.distributed as dist

    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums)
    summed: list[float] = sums.tolist()
    return summed


def barrier() -> None:
    """Returns when every rank has come here."""
    sum_floats([0.0])


def gather(value: Any) -> list[Any]:
    """What every rank gave, by rank: anything that JSON can hold. Every rank has to call this."""
    if not _has_others():
        return [value]
    import torch
    import torch.distributed as dist

    said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    place = [0.0] * dist.get_world_size()
    place[dist.get_rank()] = float(len(said))
    lengths = [int(length) for length in sum_floats(place)]
    padded = torch.zeros(max(lengths), dtype=torch.uint8)
    padded[: len(said)] = said
    given = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(given, padded)
    return [
        json.loads(bytes(text[:length].numpy()))
        for text, length in zip(given, lengths, strict=True)
    ]
