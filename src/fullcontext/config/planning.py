"""What is known of the machines, what may be spent on them, and how a plan is printed."""

from dataclasses import dataclass
from enum import StrEnum

from fullcontext.config import check


class Format(StrEnum):
    """How plan.py prints."""

    table = "table"
    json = "json"
    """One object on standard output, nothing else."""


class Speed(StrEnum):
    """Where a plan takes the time of a step from."""

    auto = "auto"
    """`mfu` where the hardware has one, else `roofline`."""
    mfu = "mfu"
    """FLOPs over peak times `hardware.mfu`, whatever the layout."""
    roofline = "roofline"
    """The slower of computing and exchanging, round by round, from the hardware's rates."""


@dataclass(kw_only=True)
class HardwareConfig:
    """A device and its surroundings; null where it is not known, and then nothing is made of it.

    Rates and sizes are those of one device, in the decimal units of data sheets (GB/s), memory in
    GiB. The table is conf/hardware/: a file a device, to be edited.
    """

    name: str = "auto"
    """`auto` takes the device that the SLURM profile is named after (slurm=a100x128), else this
    machine's; settings given beside it replace the table's."""
    devices: str | None = None
    """Regular expression for the device's name, as its driver gives it."""
    peak_flops: float | None = None
    """FLOP/s of one device at its best, for model FLOPs utilisation; with `auto` null takes that of
    the device in bf16, and leaves utilisation out where the device is not in the table."""
    efficiency: float = 0.5
    """Share of the peak that the kernels of a full micro-batch reach, for the roofline."""
    mfu: float | None = None
    """Model FLOPs utilisation of a whole run, waiting counted; null takes the roofline."""
    memory_gib: float | None = None
    """Of one device."""
    reserve_gib: float | None = None
    """Of it, what no tensor can have: driver, communication, fragmentation."""
    host_gib: float | None = None
    """Main memory for each device."""
    machine_gbs: float | None = None
    """Between devices of a machine."""
    network_gbs: float | None = None
    """Between devices of different machines."""
    host_gbs: float | None = None
    """Between a device and main memory."""
    disk_gbs: float | None = None
    """To where checkpoints go, of one device."""
    overhead_ms: float = 0.0
    """What a decoder layer takes in every micro-batch beside its arithmetic, there and back."""
    watts: float | None = None
    """Of one device with its share of the machine."""
    price_per_hour: float | None = None
    """Of one device, in money."""

    def __post_init__(self) -> None:
        for key in ("peak_flops", "memory_gib", "host_gib", "machine_gbs", "network_gbs"):
            check.above(f"hardware.{key}", getattr(self, key), 0)
        for key in ("efficiency", "host_gbs", "disk_gbs"):
            check.above(f"hardware.{key}", getattr(self, key), 0)
        for key in ("overhead_ms", "watts", "price_per_hour", "reserve_gib"):
            check.within(f"hardware.{key}", getattr(self, key), 0)
        check.within("hardware.efficiency", self.efficiency, 0, 1)
        check.above("hardware.mfu", self.mfu, 0)
        check.within("hardware.mfu", self.mfu, 0, 1)


@dataclass(kw_only=True)
class PlanConfig:
    """What plan.py assumes and prints."""

    format: Format = Format.table
    gpus: int | None = None
    """Devices; null takes those of the SLURM profile, else the processes that were started."""
    gpus_per_machine: int | None = None
    """Null takes the SLURM profile's, else 8."""
    speed: Speed = Speed.auto
    question_tokens: int = 40
    """Of a question with its markup. This and what follows is assumed where there is no store to
    count in."""
    answer_tokens: int = 60
    instruction_tokens: int = 250
    response_tokens: int = 200
    text_tokens: int = 600
    """Of a document, where `corpus.text_tokens` does not say (the paper's C4 texts have 600)."""
    sample: int = 8192
    """Examples, spread over the run, that lengths are taken from."""
    counts: list[int] | None = None
    """Numbers of devices in the table of layouts; null takes powers of two around `gpus`."""

    def __post_init__(self) -> None:
        for key in ("gpus", "gpus_per_machine", "question_tokens", "answer_tokens"):
            check.within(f"plan.{key}", getattr(self, key), 1)
        for key in ("instruction_tokens", "response_tokens", "text_tokens", "sample"):
            check.within(f"plan.{key}", getattr(self, key), 1)
        for count in self.counts or []:
            check.within("plan.counts", count, 1)


@dataclass(kw_only=True)
class BudgetConfig:
    """What may be spent. A device is a process: on CPUs an hour of it is a process-hour."""

    gpu_hours: float | None = None
    """Of a run: refused beforehand if the plan needs more; stopped and saved when what was measured
    says that it will take more; null allows anything."""
    sweep_gpu_hours: float | None = None
    """Of all runs of a sweep together, by their plans, before the first is launched."""
    after_steps: int = 20
    """Measured steps before a run may be stopped because of what it is going to take."""
    tolerance: float = 0.1
    """A run goes on as long as it is going to take at most this share more than `gpu_hours`; it is
    stopped at `gpu_hours` all the same."""
    minutes: float | None = None
    """Wall time of this process, counted from its start, before whose end the run saves and stops;
    null takes the end of the SLURM job, if it is one."""

    def __post_init__(self) -> None:
        check.above("budget.gpu_hours", self.gpu_hours, 0)
        check.above("budget.sweep_gpu_hours", self.sweep_gpu_hours, 0)
        check.within("budget.after_steps", self.after_steps, 1)
        check.within("budget.tolerance", self.tolerance, 0)
        check.above("budget.minutes", self.minutes, 0)
