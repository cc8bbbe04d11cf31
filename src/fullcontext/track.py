"""The run folder's metrics, and W&B as a mirror that can never stop a run."""

import json
import logging
import math
import netrc
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from fullcontext.compose import RunInfo, plain
from fullcontext.config import TrackingConfig, TrackingMode
from fullcontext.store import fingerprint, read_lines, write_aside

log = logging.getLogger("fullcontext")
METRICS = "metrics.jsonl"


class Tracker:
    """Writes each record to metrics.jsonl first, then to W&B if that works."""

    def __init__(
        self, folder: Path, config: Any, info: RunInfo, *, name: str, verb: str, step: int = 0
    ) -> None:
        self.folder = folder
        self.id = _identity(folder)
        self._rewind(step)
        self._file = (folder / METRICS).open("a")
        self._run: Any = None
        if config.tracking.mode is not TrackingMode.disabled:
            self._start(config, info, name, verb)

    def _rewind(self, step: int) -> None:
        """Drops records of steps that will be done again."""
        path = self.folder / METRICS
        kept = [record for record in read_lines(path) if record["step"] <= step]
        if path.exists():
            write_aside(path, "".join(json.dumps(record) + "\n" for record in kept))

    def seen(self, step: int, key: str) -> bool:
        """Whether a record of `step` holds a key that starts with `key`."""
        return any(
            record["step"] == step and any(name.startswith(key) for name in record)
            for record in read_lines(self.folder / METRICS)
        )

    def log(self, step: int, values: dict[str, Any]) -> None:
        """One line of metrics.jsonl, flushed; the same to W&B. What is not finite is null."""
        finite = {key: _finite(value) for key, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")
        self._file.flush()
        self._mirror(lambda run: run.log({"global_step": step, **values}))

    def finish(self, failed: bool = False) -> None:
        """Closes both; W&B within its timeout."""
        self._file.close()
        self._mirror(lambda run: run.finish(exit_code=int(failed)))
        self._run = None

    def _mirror(self, action: Any) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:  # whatever W&B does, the run goes on
            log.warning("W&B failed (%s); the run goes on without it", _first_line(error))
            self._run = None

    def _start(self, config: Any, info: RunInfo, name: str, verb: str) -> None:
        settings: TrackingConfig = config.tracking
        for mode in _modes(settings.mode):
            try:
                self._run = _init(self, config, info, name=name, verb=verb, mode=mode)
            except Exception as error:
                log.warning("W&B %s is not to be had (%s)", mode, _first_line(error))
                _forget()
                continue
            if mode == "offline":
                where = Path(self._run.dir).parent
                log.info("W&B records offline; upload them later with: wandb sync %s", where)
            return


def _init(tracker: Tracker, config: Any, info: RunInfo, *, name: str, verb: str, mode: Any) -> Any:
    import wandb

    settings: TrackingConfig = config.tracking
    run = wandb.init(
        mode=mode,
        id=tracker.id,
        resume="allow",
        dir=str(tracker.folder),
        project=settings.project,
        entity=settings.entity,
        name=name,
        group=info.choices.get("sweeps") or info.choices.get("experiments") or "baseline",
        job_type=verb,
        tags=[f"{group}={option}"[:64] for group, option in sorted(info.choices.items())],
        notes=getattr(config, "claim", None),
        config=plain(config),
        settings=wandb.Settings(
            init_timeout=settings.init_timeout_s,
            finish_timeout=settings.finish_timeout_s,
            x_transaction_log_flush_interval=2,
            silent=True,
            console="off",
        ),
    )
    run.define_metric("global_step")
    run.define_metric("tokens")
    run.define_metric("*", step_metric="global_step")
    return run


def _forget() -> None:
    """Ends W&B's background process, which would hold on to the id of a run that never began."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _modes(mode: TrackingMode) -> list[str]:
    match mode:
        case TrackingMode.offline:
            return ["offline"]
        case TrackingMode.online:
            return ["online", "offline"]
        case _:
            return ["online", "offline"] if _has_key() else ["offline"]


def _has_key() -> bool:
    """Whether a W&B key is there to be used; its value is never read into anything."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return netrc.netrc().authenticators(host.split(":")[0]) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _identity(folder: Path) -> str:
    """An id that stays with the folder through every resume."""
    path = folder / "id.txt"
    if not path.exists():
        write_aside(path, fingerprint([str(folder.resolve()), os.urandom(8).hex()]))
    return path.read_text().strip()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"
