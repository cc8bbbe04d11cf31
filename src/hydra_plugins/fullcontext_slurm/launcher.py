"""Hydra's side of a sweep: which points there are. What becomes of them is in fullcontext.cluster.

It subclasses hydra-submitit-launcher's, whose settings it takes; but a job gets paths instead of a
pickled launcher, a failed job is FAILED for SLURM, and the launcher may return when it has
submitted.
"""

import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher

if TYPE_CHECKING:
    from fullcontext.cluster.submission import Job, Submission

log = logging.getLogger(__name__)
OWN = ("cluster", "torchrun", "wait", "dry_run", "snapshot", "poll_s")
"""Settings that are not submitit's."""


class FailedPointError(RuntimeError):
    """A point of a sweep that did not finish."""


class FullcontextLauncher(SlurmLauncher):
    """Runs the points of a sweep as one SLURM array, or as processes of this machine."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.own = {key: self.params.pop(key) for key in OWN}

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Makes the points of one batch that are not made yet; see `fullcontext.cluster`.

        If any failed, exits with 1 when all have ended; a sweeper that optimises is told of each.
        """
        from fullcontext.cluster.submission import Submission
        from fullcontext.compose import ConfigError

        assert self.config is not None
        sweep = Path(str(self.config.hydra.sweep.dir)).absolute()
        try:
            submission = Submission(
                sweep, self._chosen_cluster(), self.params, self.own["torchrun"]
            )
            jobs = [
                self._job(sweep, list(overrides), number)
                for number, overrides in enumerate(job_overrides, initial_job_idx)
            ]
            self._run(submission, jobs)
        except ConfigError as error:
            sys.stderr.write(f"error: {error}\n")
            raise SystemExit(2) from None
        failed = [job for job in jobs if job.error]
        if failed and str(self.config.hydra.sweeper._target_).endswith("BasicSweeper"):
            sys.stderr.write(f"error: {len(failed)} of {len(jobs)} points did not finish\n")
            raise SystemExit(1)
        return [_returned(job) for job in jobs]

    def _run(self, submission: "Submission", jobs: list["Job"]) -> None:
        if self.own["dry_run"]:
            sys.stdout.write(submission.text(jobs))
            submission.forget()
            return
        submission.submit(jobs, self.own["snapshot"])
        if self.own["wait"]:
            submission.follow(jobs, self.own["poll_s"])

    def _chosen_cluster(self) -> str:
        from fullcontext.cluster import slurm
        from hydra_plugins.fullcontext_slurm.queue import Cluster

        chosen = Cluster(self.own["cluster"])
        if chosen is Cluster.auto:
            chosen = Cluster.slurm if slurm.answers() else Cluster.local
            log.info("hydra.launcher.cluster=auto: %s", chosen.value)
        return chosen.value

    def _job(self, sweep: Path, overrides: list[str], number: int) -> "Job":
        """Composes a point as its job will, to know its folder and what that has to hold."""
        from fullcontext import compose
        from fullcontext.cluster.submission import Job

        assert self.config is not None and self.hydra_context is not None
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        cfg.hydra.job.num = number
        hydra = self.config.hydra
        verb = _verb(str(hydra.job.config_name))
        ours = [str(w) for w in hydra.overrides.hydra if not w.startswith("hydra.launcher.dry_run")]
        return Job(
            verb=verb,
            folder=sweep / str(cfg.hydra.sweep.subdir),
            words=[*_options(hydra, verb), *ours, *overrides],
            overrides=list(filter_overrides(overrides)),
            config=compose.typed_point(cfg, verb),
        )


def _returned(job: "Job") -> JobReturn:
    if job.error:
        error = FailedPointError(f"{job.folder}: {job.error}")
        return JobReturn(job.overrides, status=JobStatus.FAILED, _return_value=error)
    return JobReturn(job.overrides, status=JobStatus.COMPLETED, _return_value=job.value)


def _verb(config_name: str) -> str:
    """`train`, if it is train.py that runs."""
    from fullcontext.compose import ROOT

    script = Path(sys.argv[0])
    return script.stem if (ROOT / f"{script.stem}.py").exists() else config_name


def _options(hydra: Any, verb: str) -> Iterable[str]:
    """What was given to Hydra by flags, which are no overrides."""
    if hydra.job.config_name != verb:
        yield f"--config-name={hydra.job.config_name}"
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            yield f"--config-dir={source.path}"
