"""W&B as a sink: online where that works, else offline, to be uploaded later."""

import netrc
import os
import shlex
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from fullcontext.config import TrackingConfig, TrackingMode
from fullcontext.track.identity import Identity
from fullcontext.track.mirror import Attachment, Figures, Table, log, reason

IMPORT_S = 120
"""What importing wandb and starting its process may take beside `tracking.init_timeout_s`."""
NO_KEY = "no API key"


class WandbSink:
    """One W&B run; its files stand in RUN/wandb."""

    title = "W&B"

    def __init__(
        self, folder: Path, who: Identity, tree: dict[str, Any], settings: TrackingConfig
    ) -> None:
        self.folder, self.who, self.tree, self.settings = folder, who, tree, settings
        self.start_timeout_s: float = settings.init_timeout_s + IMPORT_S
        self.finish_timeout_s: float = settings.finish_timeout_s
        self._run: Any = None
        self._mode = ""
        self._service: Any = None
        self._known_to = -1
        """Last step that the server has: what was done again up to it is not sent again."""
        self._recent: deque[tuple[float, int, dict[str, Any]]] = deque()
        """When, step and values of what W&B's process may not have written yet."""

    @property
    def address(self) -> str:
        """Where the run is looked at; empty offline."""
        return str(self._run.url or "")

    def start(self) -> str:
        mode, why = wanted(self.settings.mode)
        if mode == "online":
            try:
                self.open("online")
                return f"W&B: {self.address}"
            except Exception as error:
                why = reason(error)
                self._forget()
        self.open("offline")
        return f"W&B records offline{f' ({why})' if why else ''}; upload it later: {self.remedy()}"

    def retreat(self, error: BaseException) -> str:
        if self._mode != "online":
            raise error
        self._forget()
        self.open("offline")
        for _, step, values in self._recent:
            self._run.log({"global_step": step, **values})
        return f"W&B failed ({reason(error)}) and records offline; upload it: {self.remedy()}"

    def log(self, step: int, values: dict[str, Any]) -> None:
        if step < self._known_to:
            return
        self._run.log({"global_step": step, **values})
        now = time.monotonic()
        self._recent.append((now, step, values))
        while now - self._recent[0][0] > UNWRITTEN_S:
            self._recent.popleft()

    def curves(self, step: int, table: Table, figures: Figures) -> None:
        import wandb

        drawn = {name: wandb.Image(str(path)) for name, path in figures.items()}
        rows = wandb.Table(columns=list(table.columns), data=table.rows)
        self.log(step, {"curves/table": rows, **drawn})

    def attach(self, attachment: Attachment) -> None:
        import wandb

        empty = wandb.Artifact(f"{attachment.name}-{self.who.id}", type=attachment.kind)
        self._run.log_artifact(attachment.put_in(empty))

    def finish(self, failed: bool) -> str | None:
        try:
            self._run.finish(exit_code=int(failed))
        except TimeoutError:
            self.abandon()
            return (
                f"W&B did not take everything within {self.settings.finish_timeout_s} s;"
                f" upload the rest: {self.remedy()}"
            )
        self._forget()
        return None

    def abandon(self) -> None:
        """Kills W&B's own process: its exit hook would wait for it without limit."""
        with suppress(Exception):
            self._service._cleanup()
            self._service._torn_down = True
            self._service._finalizer._queue.put(None)
            self._service._proc._process.kill()

    def remedy(self) -> str:
        place = self.folder / "wandb"
        if self._run is None:
            return f"python -m fullcontext.track {shlex.quote(str(self.folder))}"
        runs = sorted(place.glob(f"*run-*-{self.who.id}"))
        held = [run for run in runs if not _is_empty(run)]
        online = " --no-skip-online" if any(run.name.startswith("run-") for run in held) else ""
        if len(held) == len(runs):
            return f"wandb sync{online} {shlex.quote(str(place))}/*run-*-{self.who.id}"
        # Beside a file without a record wandb sync uploads no other either.
        return f"wandb sync{online} {' '.join(shlex.quote(str(run)) for run in held)}"

    def open(self, mode: str) -> None:
        """Begins or continues the run in a mode of W&B; raises what W&B raises."""
        quiet()
        import wandb

        who = self.who
        self._run = None
        wandb.setup(settings=wandb.Settings(silent=True))  # else it talks while it logs in
        run = wandb.init(
            mode=mode,  # type: ignore[arg-type] # one of its literals
            id=who.id,
            resume="allow",
            dir=str(self.folder),
            project=self.settings.project,
            entity=self.settings.entity,
            name=who.name,
            group=who.group,
            job_type=who.job_type,
            tags=list(who.tags),
            notes=who.notes,
            config=self.tree,
            settings=wandb.Settings(
                init_timeout=self.settings.init_timeout_s,
                finish_timeout=0.4 * self.settings.finish_timeout_s,
                finish_timeout_raises=True,
                x_transaction_log_flush_interval=1,
                silent=True,
                console="off",
                stop_fn=_asked_to_stop,
            ),
        )
        for clock in ("global_step", "tokens"):
            run.define_metric(clock)
        run.define_metric("*", step_metric="global_step")
        self._run, self._mode = run, mode
        self._known_to = int(run.summary.get("global_step") or -1) if run.resumed else -1
        with suppress(Exception):
            self._service = wandb.setup()._connection

    def _forget(self) -> None:
        """Ends W&B's background process, which would hold on to the id of a run, and at the exit
        of ours wait for its own."""
        import wandb

        with suppress(Exception):
            wandb.teardown()


def quiet() -> None:
    """Before wandb is imported: it reports on itself to the server, and at exit waits up to 30 s to
    have that delivered. Who sets WANDB_ERROR_REPORTING decides otherwise."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


def _asked_to_stop() -> None:
    log.warning("W&B asks to stop; a tracker cannot: send the run SIGTERM to have it save and stop")


def is_disabled(mode: TrackingMode) -> bool:
    """Whether the environment turns W&B off, and the config does not insist."""
    return mode is TrackingMode.auto and os.environ.get("WANDB_MODE") == "disabled"


def wanted(mode: TrackingMode) -> tuple[str, str]:
    """`online` or `offline`, and why not online."""
    said = os.environ.get("WANDB_MODE", "")
    if mode is TrackingMode.offline or (
        mode is TrackingMode.auto and said in ("offline", "dryrun")
    ):
        return "offline", ""
    if mode is TrackingMode.auto and not has_key():
        return "offline", NO_KEY
    return "online", ""


def has_key() -> bool:
    """Whether a W&B key is there to be used; its value is never read into anything."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return netrc.netrc().authenticators(host.split(":")[0]) is not None
    except (OSError, netrc.NetrcParseError):
        return False


UNWRITTEN_S = 10.0
"""Records younger than this go into the offline run, too, when W&B's process has died: it writes
every 2 seconds. A step may then be there twice, with the same global_step."""
_HEADER_BYTES = 7
"""What a file of W&B begins with, before its first record."""


def _is_empty(run: Path) -> bool:
    """Whether W&B's process died before it wrote the first record of an online run."""
    sizes = [file.stat().st_size for file in run.glob("*.wandb")]
    return run.name.startswith("run-") and max(sizes, default=0) <= _HEADER_BYTES
