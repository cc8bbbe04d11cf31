"""What a job does on a node: starts the run's processes, passes signals on, asks to be requeued.

The task is all that is pickled, and it holds paths only: whatever the run needs is in its folder,
in the copy of the code and on the command line. The same command can be given by hand.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fullcontext import launch, pulse
from fullcontext.cluster import attempts, slurm
from fullcontext.cluster.attempts import How
from fullcontext.cluster.log import Log
from fullcontext.compose import ConfigError
from fullcontext.store import locked

if TYPE_CHECKING:
    from submitit import JobEnvironment

POLL_S = 0.5
REMIND_S = 3.0
"""A process that is still starting may not hear a signal: it is sent again until it ends."""
LOCK_S = 300.0
"""How long a restarted job waits for a former process of the run to leave its folder."""
LEAVE_S = 30.0
"""How long a task waits for the first one to say what becomes of the job."""
IDLE = {How.stopped: 10, How.lost: 3}
"""Times in a row that a run may be requeued without having come a step further."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a job. submitit calls it, and `checkpoint` before the job runs again."""

    script: str
    """The verb, in the copy of the code."""
    words: list[str]
    """Its command line."""
    folder: str
    """The run folder."""
    processes: int | None = None
    """How many torchrun starts on this node; None if this task is itself one of the ranks."""
    saves: bool = True
    """Whether the verb saves when it is signalled; others are ended, and go on from what they have
    written."""

    def __call__(self) -> float | None:
        """Runs to the end, or until the job is requeued; what the verb returned.

        Raises RuntimeError if the run failed, so that it is FAILED for SLURM, too.
        """
        from submitit import JobEnvironment

        return _Working(self, JobEnvironment()).run()

    def checkpoint(self) -> Any:
        """The same again: what was done is in the run folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def command(self, env: "JobEnvironment", restart: int) -> list[str]:
        """Torchrun's agent, or the verb itself."""
        verb = [self.script, *self.words]
        if self.processes is None:
            return [sys.executable, *verb]
        port = 20000 + (int(env.raw_job_id) * 7 + restart) % 12000  # the former may still be busy
        return [
            sys.executable, "-m", "torch.distributed.run", f"--nnodes={env.num_nodes}",
            f"--node-rank={env.node}", f"--nproc-per-node={self.processes}",
            f"--master-addr={env.hostnames[0]}", f"--master-port={port}", "--max-restarts=0", *verb,
        ]  # fmt: skip


class _Working:
    """A task while it runs."""

    def __init__(self, task: Task, env: "JobEnvironment") -> None:
        self.task, self.env = task, env
        self.folder = Path(task.folder)
        self.is_first = env.global_rank == 0
        self.restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        self.log = Log(Path(str(env.paths.stderr)))
        self.signals: list[str] = []
        """Those that came."""
        self.number = 0
        """Of this attempt at the run."""
        self.is_replaced = False
        """Whether a newer attempt has taken over."""

    def run(self) -> float | None:
        with self._listening() as requeue:
            if not self.is_first:
                self._follow(self._work())
                return None
            self.number = attempts.begin(self.folder, self.env.job_id, self.restart)
            self._wait_for_former()
            before = attempts.written(self.folder)
            code = self._work()
            if self.is_replaced:
                return None
            is_new = attempts.written(self.folder) != before
            status = attempts.status(self.folder) if is_new else {"state": ""}
            return self._conclude(code, status, requeue)

    @contextmanager
    def _listening(self) -> Iterator[Callable[[], None]]:
        """Notes signals; gives submitit's own answer to SIGUSR2, which requeues the job."""

        def note(number: int, frame: FrameType | None) -> None:
            self.signals.append(signal.Signals(number).name)

        former = {each: signal.signal(each, note) for each in (signal.SIGUSR2, signal.SIGTERM)}
        handler = former[signal.SIGUSR2]
        try:
            yield lambda: handler(signal.SIGUSR2, None) if callable(handler) else None
        finally:
            for each, former_handler in former.items():
                signal.signal(each, former_handler)

    def _wait_for_former(self) -> None:
        """SLURM may have lost sight of a node on which a former attempt is still at work."""
        until = time.monotonic() + LOCK_S
        while not self.signals and time.monotonic() < until:
            with suppress(ConfigError), locked(self.folder / ".lock", "training in"):
                return
            time.sleep(POLL_S)

    def _work(self) -> int:
        """Starts the command, passes on what is asked of it, and waits for its end."""
        if self.signals:
            return launch.STOPPED
        child = subprocess.Popen(
            self.task.command(self.env, self.restart),
            env={**os.environ, launch.STOPPED_STATUS: "0"},
            preexec_fn=_deafen,  # noqa: PLW1509 - a task has one thread
        )
        remind = look = time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(POLL_S)
            now = time.monotonic()
            if self.is_first and now >= look:
                look = now + REMIND_S
                self.is_replaced = attempts.number(self.folder) != self.number
            if (self.signals or self.is_replaced) and now >= remind:
                remind = now + REMIND_S
                self._pass_on(child.pid)

    def _pass_on(self, child: int) -> None:
        """Only SIGUSR2: at SIGTERM torchrun's agent would end its workers, perhaps too early."""
        number = signal.SIGUSR2 if self.task.saves else signal.SIGTERM
        for pid in [child] if self.task.processes is None else children(child):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _conclude(
        self, code: int, status: dict[str, Any], requeue: Callable[[], None]
    ) -> float | None:
        """What the first task makes of the end of its processes."""
        state, said = status["state"], self.log.error() if code else ""
        error = str(status.get("error") or said or f"exit status {code}")
        if state == "finished" or (code == 0 and state != "stopped"):
            attempts.end(self.folder, self.number, How.finished)
            value = status.get("value")
            return None if value is None else float(value)
        if state == launch.OVER_BUDGET_STATE:
            raise self._failed(
                "budget.gpu_hours is spent; all is saved, resume= takes a larger one"
            )
        if pulse.names_lost_rank(said):  # status.json was written before it was known who it was
            self._pause(How.lost, said, requeue)
        elif state != "failed" and (self.signals or state == "stopped"):
            self._pause(How.stopped, None, requeue)
        raise self._failed(error)

    def _pause(self, how: How, error: str | None, requeue: Callable[[], None]) -> None:
        """Has the job run again, and ends in any case."""
        attempts.end(self.folder, self.number, how, error)
        if attempts.idle(self.folder) >= IDLE[how]:
            raise self._failed(
                f"requeued {IDLE[how]} times without a step forward ({error or 'stopped'}); give it"
                " more time, or a longer signal_delay_s if it is ended while it saves"
            )
        if self._is_ours(how):
            try:
                requeue()
            except Exception as refused:  # too many timeouts, or SLURM refuses
                raise self._failed(f"{how.value}, but not requeued: {refused}") from refused
        raise SystemExit(launch.STOPPED)  # it has not finished, and is not to look as if it had

    def _is_ours(self, how: How) -> bool:
        """Whether to ask for a requeue: not if SLURM has ended or requeued the job by itself."""
        if self.env.cluster != "slurm":
            return how is How.stopped and "SIGUSR2" in self.signals
        return slurm.states([self.env.job_id])[self.env.job_id] in (
            slurm.RUNNING, slurm.UNREACHABLE
        )  # fmt: skip

    def _follow(self, code: int) -> None:
        """What the other tasks do: the first one decides, and a job ends with the first to fail."""
        if code:
            time.sleep(LEAVE_S)
            raise RuntimeError(f"exit status {code}; what failed is said by another task, or above")

    def _failed(self, error: str) -> RuntimeError:
        attempts.end(self.folder, self.number, How.failed, error)
        return RuntimeError(error)


def children(pid: int) -> list[int]:
    """The processes that a process started itself (on Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(path.parent.name))
    return found


def _deafen() -> None:
    """Torchrun's agent would die of SIGUSR2, as would a process that has not set a handler yet."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
