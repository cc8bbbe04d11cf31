"""A trace of some steps, for chrome://tracing or https://ui.perfetto.dev."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fullcontext.config import ProfileConfig

log = logging.getLogger("fullcontext")


@contextmanager
def trace(
    config: ProfileConfig, folder: Path, step: int, rank: int = 0
) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with the number of each step that is done; `step` are done before.

    Steps `config.steps[0]` to `config.steps[1]`, the first step being 1, are written to
    `traces/steps_A-B_rank_R.json.gz` in the run folder. A run that goes on behind the first of
    them traces nothing.
    """
    running: list[Any] = []
    first, last = config.steps or (0, 0)

    def after(done: int) -> None:
        if running and done >= last:
            _write(running.pop(), folder, f"steps_{first}-{done}_rank_{rank}")
        elif config.steps and done == first - 1:
            running.append(_started())

    after(step)
    try:
        yield after
    finally:
        for profile in running:
            profile.stop()


def _started() -> Any:
    import torch
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    started = profile(activities=activities, record_shapes=True)
    started.start()
    return started


def _write(profile: Any, folder: Path, name: str) -> None:
    profile.stop()
    (folder / "traces").mkdir(exist_ok=True)
    path = folder / "traces" / f"{name}.json.gz"
    aside = path.with_name(f".{name}.aside.json.gz")
    profile.export_chrome_trace(str(aside))
    aside.rename(path)
    log.info("wrote the trace %s; open it in https://ui.perfetto.dev", path)
