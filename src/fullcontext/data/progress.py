"""What a person sees while questions are asked: rate, cost and time left."""

import sys
import time

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fullcontext.data.crew import Crew
from fullcontext.data.walk import Walk

LINE_EVERY_S = 30.0
"""Where there is no terminal, a line now and then; where there is one, the bar is kept."""
_BAR_EVERY_S = 0.2


class Show:
    """A bar on a terminal, lines in a log."""

    def __init__(self, walk: Walk, crew: Crew) -> None:
        self.walk, self.crew = walk, crew
        self.terminal = sys.stderr.isatty()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[cost]}"),
            transient=True,
            disable=not self.terminal,
        )
        self._bar = self.progress.add_task("questions", total=sum(walk.wanted.values()), cost="")
        self._start = self._shown = time.monotonic()
        self._before: int | None = None

    def look(self) -> None:
        """Called after every outcome; shows something when it is time."""
        now = time.monotonic()
        made = sum(self.walk.tally.made.values())
        if self._before is None:
            self._before = made
        if now - self._shown < (_BAR_EVERY_S if self.terminal else LINE_EVERY_S):
            return
        self._shown = now
        if self.terminal:
            self.progress.update(self._bar, completed=made, cost=self.crew.line())
            return
        rate = (made - self._before) / (now - self._start)
        left = sum(self.walk.wanted.values()) - made
        ends = f", {left / rate / 60:.0f} min left at most" if rate > 0 else ""
        cost = f"; {self.crew.line()}" if self.crew.meters else ""
        sys.stdout.write(
            f"{made:,} of {made + left:,} questions, {rate:.1f} a second{ends}{cost}\n"
        )
        sys.stdout.flush()
