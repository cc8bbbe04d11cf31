"""What `hydra.launcher` holds with `hydra/launcher: fullcontext_slurm`."""

from dataclasses import dataclass, field
from enum import StrEnum

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf


class Cluster(StrEnum):
    """Where jobs run."""

    slurm = "slurm"
    local = "local"
    """Processes of this machine."""
    auto = "auto"
    """SLURM where one answers on this machine, else processes."""


@dataclass
class QueueConf(SlurmQueueConf):
    """submitit's settings, with defaults that lose nothing, and our own."""

    _target_: str = "hydra_plugins.fullcontext_slurm.launcher.FullcontextLauncher"
    max_num_timeout: int = 100
    """Times that a job may reach its time limit and be requeued."""
    signal_delay_s: int = 180
    """Seconds before the limit at which a run is told to save. SLURM may do so a minute early."""
    srun_args: list[str] = field(default_factory=lambda: ["--kill-on-bad-exit=1"])
    """One rank that fails ends its job."""
    cluster: Cluster = Cluster.slurm
    torchrun: int | None = None
    """Processes that one task a node starts through torchrun's agent; null makes every task a
    rank."""
    wait: bool = True
    """Waits for the jobs; false returns when they are submitted."""
    dry_run: bool = False
    """Prints what would be given to sbatch, and submits nothing."""
    snapshot: bool = True
    """Jobs run a copy of the code as it is now; false runs the checkout as it is then."""
    poll_s: float = 10.0
    """Seconds between two looks at the queue."""
    nodelist: str | None = None
    dependency: str | None = None
    exclusive: bool | None = None
    """True, or null: sbatch refuses a false."""


ConfigStore.instance().store(
    group="hydra/launcher", name="fullcontext_slurm", node=QueueConf(), provider="fullcontext_slurm"
)
