"""When a run has to stop before it is through: its budget is spent, or its job is about to end."""

import logging
import os
import time
from collections.abc import Callable

from fullcontext.config import BudgetConfig

log = logging.getLogger("fullcontext")
BUDGET = "the budget"
TIME = "the time limit"
SLURM_END = "SLURM_JOB_END_TIME"
"""Seconds since 1970 at which SLURM ends the job, in its environment."""
LEAST_S = 5.0
SLACK = 1.5
"""Margin before the end, in longest saves and steps."""


class Limits:
    """Asked after every step, on every rank; the ranks agree afterwards (launch.StopFlag).

    `guess_s` is a first guess of how long a save takes, until one was measured.
    """

    def __init__(
        self, config: BudgetConfig, ranks: int, spent_s: float = 0.0, guess_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.config, self.ranks, self.clock = config, ranks, clock
        self.start = clock()
        self.before = spent_s
        """Wall seconds of this run in earlier processes."""
        self.guess = guess_s
        self.longest_step = 0.0
        self._measured: list[float] = []
        ends = [float(os.environ[SLURM_END])] if os.environ.get(SLURM_END, "").isdigit() else []
        if config.minutes is not None:
            ends.append(self.start + 60 * config.minutes)
        self.end = min(ends, default=None)

    @property
    def spent_s(self) -> float:
        """Wall seconds of the run so far, waiting and probes counted, in all its processes."""
        return self.before + self.clock() - self.start

    def reached(self, step_s: float, done: int, steps: int, save_s: float) -> str | None:
        """BUDGET or TIME if the run has to stop after this step; None if it may go on.

        `done` of `steps` are done; `save_s` is the longest save that was measured, 0 before one.
        """
        self._measured.append(step_s)
        self.longest_step = max(self.longest_step, step_s)
        if done >= steps:
            return None
        if self.end is not None and self.clock() + self.margin(save_s) >= self.end:
            return TIME
        return BUDGET if self._overspends(done, steps) else None

    def margin(self, save_s: float) -> float:
        """Seconds before the end at which the run has to begin to save."""
        save = save_s or self.guess
        return max(LEAST_S, SLACK * (save + self.longest_step))

    def _overspends(self, done: int, steps: int) -> bool:
        allowed = self.config.gpu_hours
        if allowed is None:
            return False
        spent = self.spent_s * self.ranks / 3600
        if spent >= allowed:
            return True
        if len(self._measured) < self.config.after_steps:
            return False
        # The first step of a process warms up what the others use.
        later = self._measured[1:] or self._measured
        left = (steps - done) * sum(later) / len(later) * self.ranks / 3600
        return spent + left > allowed * (1 + self.config.tolerance)
