"""A batch of points of a sweep: what is left to do is submitted as one array, and followed."""

import logging
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullcontext import command_line
from fullcontext.cluster import attempts, holding, points, slurm, snapshot
from fullcontext.cluster.attempts import How
from fullcontext.cluster.points import Point
from fullcontext.cluster.task import Task
from fullcontext.compose import ROOT
from fullcontext.entry import remove_empty
from fullcontext.store import locked

log = logging.getLogger(__name__)
CODE = ".code"
"""Folder of a sweep in which the copies of the code lie."""
_GENERAL = ("timeout_min", "tasks_per_node", "nodes", "gpus_per_node", "signal_delay_s")
"""Of submitit's settings those that a process of this machine knows."""


@dataclass(slots=True)
class Job:
    """A point of a sweep on its way."""

    verb: str
    folder: Path
    words: list[str]
    """The verb's command line, but for the folder."""
    overrides: list[str]
    config: Any = None
    """Its typed config; None if it cannot be run, which its job will say."""
    point: Point | None = None
    value: float | None = None
    """What it returned."""
    error: str | None = None
    """Why it did not finish."""

    @property
    def label(self) -> str:
        return self.folder.name


class Submission:
    """Where, and with what resources, jobs are submitted."""

    def __init__(
        self, sweep: Path, cluster: str, params: dict[str, Any], torchrun: int | None
    ) -> None:
        self.sweep, self.cluster, self.torchrun = sweep, cluster, torchrun
        self.params = {key: value for key, value in params.items() if value is not None}

    def text(self, jobs: list[Job]) -> str:
        """What sbatch would be given, and each job's command."""
        tasks = [self._task(job, ROOT) for job in jobs]
        lines = [f"# {shlex.join(['python', task.script, *task.words])}" for task in tasks]
        if self.cluster == "slurm":
            lines.insert(0, self._executor(ROOT).text(len(jobs)))
        return "\n".join(lines) + "\n"

    def forget(self) -> None:
        """Takes back the folder that Hydra has made, if nothing was ever launched in it."""
        if {path.name for path in self.sweep.iterdir()} <= {"multirun.yaml"}:
            (self.sweep / "multirun.yaml").unlink(missing_ok=True)
            remove_empty(self.sweep)

    def submit(self, jobs: list[Job], with_snapshot: bool) -> None:
        """Submits what is neither finished nor on its way, and writes down which job is which.

        Raises ConfigError if a folder holds a run with other settings.
        """
        with locked(self.sweep / ".launching", "launching", wait_s=60):
            known = {point.folder: point for point in points.read(self.sweep)}
            for job in jobs:
                name = os.path.relpath(job.folder, self.sweep)
                job.point = known.get(name) or Point(name, job.overrides)
            states = points.states([job.point for job in jobs if job.point])
            left = []
            for job in jobs:
                if holding.is_finished(job.folder, job.config):
                    log.info("%s: finished already", job.label)
                elif states.get(_point(job).folder, slurm.GONE) not in slurm.ENDED:
                    log.info("%s: on its way as job %s", job.label, _point(job).job)
                else:
                    left.append(job)
            if left:
                code = snapshot.take(ROOT, self.sweep / CODE) if with_snapshot else ROOT
                self._submit(left, code)
            points.note(self.sweep, [_point(job) for job in jobs])
        log.info("look at them with: python report.py --status %s", self.sweep)
        log.info("make again what fails: the same command, hydra.sweep.dir=%s", self.sweep)

    def _submit(self, jobs: list[Job], code: Path) -> None:
        executor = self._executor(code)
        tasks = [self._task(job, code) for job in jobs]
        with _path(code / "src"), executor.batch():
            submitted = [executor.submit(task) for task in tasks]
        for job, made in zip(jobs, submitted, strict=True):
            said = os.path.relpath(str(made.paths.stderr), self.sweep)
            job.point = Point(
                _point(job).folder, job.overrides, self.cluster, str(made.job_id), said
            )
        ids = ", ".join(str(made.job_id) for made in submitted)
        log.info("submitted to %s: %s", self.cluster, ids)

    def _task(self, job: Job, code: Path) -> Task:
        words = [*job.words, "hydra.mode=RUN", f"hydra.run.dir={command_line.path(job.folder)}"]
        script = str(code / f"{job.verb}.py")
        return Task(script, words, str(job.folder), self.torchrun, saves=job.verb == "train")

    def _executor(self, code: Path) -> Any:
        folder = str(self.params["submitit_folder"])
        if self.cluster == "local":
            from submitit import LocalExecutor

            local = LocalExecutor(folder, max_num_timeout=self.params["max_num_timeout"])
            local.update_parameters(**{k: v for k, v in self.params.items() if k in _GENERAL})
            return local
        from fullcontext.cluster.array import ArrayExecutor

        return ArrayExecutor.configured(folder, self.params, code / "src")

    def follow(self, jobs: list[Job], poll_s: float) -> None:
        """Waits until no job is on its way; says what becomes of each, and notes how it ended."""
        said: dict[str, str] = {}
        try:
            while True:
                states = points.states([_point(job) for job in jobs])
                for job in jobs:
                    state = states.get(_point(job).folder, "")
                    if state and state != said.get(job.label):
                        said_so = "has ended" if state == slurm.GONE else state
                        log.info("%s: job %s %s", job.label, _point(job).job, said_so)
                        said[job.label] = state
                if all(state in slurm.ENDED for state in states.values()):
                    break
                time.sleep(poll_s)
        except KeyboardInterrupt:
            if self.cluster == "slurm":
                log.info("the jobs go on; the same command with this folder takes them up again")
            raise
        for job in jobs:
            self._conclude(job, states.get(_point(job).folder, ""))

    def _conclude(self, job: Job, state: str) -> None:
        known = attempts.read(job.folder)
        last = known[-1] if known else None
        if (last is None and not state) or (last is not None and last.how == How.finished):
            value = attempts.status(job.folder).get("value")
            job.value = None if value is None else float(value)
            return
        job.error = (last.error if last else None) or f"job {_point(job).job} {state}"
        log.error("%s: %s (%s)", job.label, job.error, self.sweep / str(_point(job).log))


def _point(job: Job) -> Point:
    assert job.point is not None
    return job.point


@contextmanager
def _path(source: Path) -> Iterator[None]:
    """Processes that are started inside the block import the code of `source`."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(source), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
