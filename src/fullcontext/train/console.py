"""What a person sees while a run goes on: a bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import rich.console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fullcontext.train.loop import Step

LINE_EVERY_S = 10.0


class Console(logging.Handler):
    """Log lines go to the terminal, above the bar, and to log.txt of the run folder.

    Of several ranks the first one alone speaks; the others only let errors through.
    """

    def __init__(self, folder: Path, is_main: bool = True) -> None:
        super().__init__(logging.INFO if is_main else logging.ERROR)
        self.is_main = is_main
        self.out = rich.console.Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._file: logging.Handler = logging.NullHandler()
        if is_main:
            self._file = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._log = logging.getLogger("fullcontext")

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else ""
        self.out.print(record.getMessage(), style=style, markup=False)

    def __enter__(self) -> "Console":
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._log.addHandler(self)
        self._log.addHandler(self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.removeHandler(self)
        self._log.removeHandler(self._file)
        self._log.propagate = True
        self._file.close()

    @contextmanager
    def progress(self, start: int, steps: int) -> Iterator[Callable[[int, Step], None]]:
        """Gives a function to call after every step."""
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        begun = said = time.monotonic()
        hidden = not (self.out.is_terminal and self.is_main)
        with Progress(*columns, console=self.out, disable=hidden) as bar:
            task = bar.add_task("", total=steps, completed=start)

            def show(step: int, done: Step) -> None:
                nonlocal said
                text = f"loss {done.loss:.4f}  {done.tokens / done.seconds:,.0f} tokens/s"
                bar.update(task, completed=step, description=text)
                now = time.monotonic()
                if not self.out.is_terminal and (now - said > LINE_EVERY_S or step == steps):
                    said = now
                    left = (now - begun) / max(1, step - start) * (steps - step)
                    self._log.info("step %d/%d  %s  ETA %.0f s", step, steps, text, left)

            yield show
