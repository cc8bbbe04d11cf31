"""Saving without waiting: a checkpoint is written by a thread while training goes on."""

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from fullcontext.compose import ConfigError, plain, read_plain
from fullcontext.config import TrainConfig
from fullcontext.store import differences
from fullcontext.train import checkpoint
from fullcontext.train.peers import ALONE, Peers
from fullcontext.train.resuming import LAYOUT

log = logging.getLogger("fullcontext")
PATIENCE_S = 60.0
"""How long a run that failed waits for its last checkpoint: the other ranks may be gone."""


class Saver:
    """Writes and restores the checkpoints of one run; one is written at a time.

    `save` copies the state and returns; a thread writes. The next `save`, `wait` and `close` wait
    for it. A checkpoint that could not be written is a warning: training goes on, and the one
    before stays. Every rank has its own Saver and calls the same methods.
    """

    def __init__(self, run: Path, config: TrainConfig, peers: Peers = ALONE) -> None:
        self.run, self.config, self.peers = run, config, peers
        self.saved = -1
        """Step of the newest whole checkpoint; -1 if there is none."""
        self.failed: dict[int, str] = {}
        """Step -> why it could not be written."""
        self.longest_s = 0.0
        """Seconds of the longest save so far, from its beginning until it was whole."""
        on_gpu = torch.cuda.is_available()
        self._stager = DefaultStager(StagingOptions(on_gpu, False, False, on_gpu))
        self._thread: threading.Thread | None = None
        self._begun, self._begun_s = -1, 0.0

    def restore(self, model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Puts the newest whole checkpoint back and returns its `extra`; None if there is none.

        Damaged ones are passed over and get another name, so that they are not counted as kept.
        Raises ConfigError if the checkpoint is of another configuration or model.
        """
        self.peers.first(lambda: checkpoint.sweep(self.run))
        found = checkpoint.newest(self.run, peers=self.peers)
        step = -1 if found is None else checkpoint.step_of(found)
        self.peers.first(lambda: checkpoint.set_aside_after(self.run, step))
        if found is None:
            return None
        extra = checkpoint.extra(found)
        self._refuse_other(extra.pop("config", None), found)
        checkpoint.load(found, model, optimizer)
        self.saved = self._begun = step
        log.info("going on from %s", found)
        return extra

    def _refuse_other(self, there: Any, folder: Path) -> None:
        if there is None:
            return
        here = json.loads(json.dumps(plain(self.config)))
        there = json.loads(json.dumps(plain(read_plain(there, TrainConfig, folder))))
        differing = [
            f"{key}: {old!r} there, {new!r} here"
            for key, old, new in differences(there, here)
            if key.split(".")[0] not in (*LAYOUT, "resume")
        ]
        if differing:
            raise ConfigError(
                f"{folder} was written by a run with other settings ({'; '.join(differing)});"
                f" put it back where it is from, or start a new run from its weights (init=)"
            )

    def save(
        self, step: int, model: Any, optimizer: torch.optim.Optimizer, extra: dict[str, Any]
    ) -> None:
        """Begins to write the checkpoint of `step`, if it is not written or being written."""
        if step == self._begun:
            return
        self.wait()
        self._begun, self._begun_s = step, time.monotonic()
        given = checkpoint.state(model, optimizer)
        text = json.dumps({"step": step, **extra, "config": plain(self.config)})
        if not self.config.checkpoint.asynchronous:
            self._write(step, given, text)
            return
        staged = self._stager.stage(given)
        self._thread = threading.Thread(
            target=self._write, args=(step, staged, text), name="checkpoint", daemon=True
        )
        self._thread.start()

    def _write(self, step: int, given: Any, extra: str) -> None:
        try:
            checkpoint.write(self.run, step, given, extra, self.peers)
        except Exception as error:
            self.failed[step] = str(error)
            log.warning(
                "the checkpoint of step %d could not be written (%s); training goes on, %s",
                step, error, self._state(),
            )  # fmt: skip
            return
        self.saved = step
        self.longest_s = max(self.longest_s, time.monotonic() - self._begun_s)
        settings = self.config.checkpoint
        if self.peers.is_first:
            try:
                checkpoint.prune(self.run, settings.keep, settings.keep_every)
            except OSError as error:
                log.warning("an old checkpoint could not be removed (%s)", error)

    def _state(self) -> str:
        if self.saved < 0:
            return "no checkpoint is there yet"
        return f"the newest checkpoint is {checkpoint.place(self.run, self.saved).name}"

    def wait(self, seconds: float | None = None) -> None:
        """Until what is being written is written, or for so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                log.warning(
                    "the checkpoint of step %d is not written yet; left to itself", self._begun
                )
            self._thread = None

    def close(self, failed: bool = False) -> None:
        """Waits, and says which checkpoints are missing."""
        self.wait(PATIENCE_S if failed else None)
        if self.failed:
            steps = ", ".join(map(str, sorted(self.failed)))
            log.warning(
                "checkpoints that could not be written: steps %s (the last: %s); %s",
                steps, self.failed[max(self.failed)], self._state(),
            )  # fmt: skip
        self._stager.close()
