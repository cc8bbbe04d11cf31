"""metrics.jsonl, and whatever mirrors it."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from fullcontext.compose import RunInfo, plain
from fullcontext.config import MirrorKind, TrackingConfig
from fullcontext.records import Answer
from fullcontext.store import read_lines, write_aside
from fullcontext.track.identity import Identity, identity, settings
from fullcontext.track.mirror import Attachment, Mirror, Sink, reason
from fullcontext.track.on_trackio import TrackioSink
from fullcontext.track.on_wandb import WandbSink, is_disabled

log = logging.getLogger("fullcontext")
METRICS = "metrics.jsonl"
RECORD = ("config.yaml", "overrides.yaml", "commit.txt", "environment.txt")
"""Files of the run folder from which the run can be made again; commit.txt holds the diff."""


class Tracker:
    """Writes each record to metrics.jsonl first, then to the mirrors, for which it never waits."""

    def __init__(
        self, folder: Path, config: Any, info: RunInfo, *, name: str, verb: str, step: int = 0
    ) -> None:
        self.folder = folder
        self._tracking: TrackingConfig = config.tracking
        who = identity(folder, info, name, verb, getattr(config, "claim", None))
        who = replace(who, group=self._tracking.group or who.group)
        self.id = who.id
        self._rewind(step)
        self._file = (folder / METRICS).open("a")
        self._tokens: float | None = None
        self._mirrors = [
            Mirror(sink)
            for sink in sinks(self._tracking, folder, who, settings(folder, plain(config)))
        ]
        self._attach("record", "run-record", *RECORD)

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
        """One line of metrics.jsonl, flushed, what is not finite as null; and to the mirrors."""
        finite = {key: _finite(value) for key, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")
        self._file.flush()
        self._tokens = values.get("tokens", self._tokens)
        for mirror in self._mirrors:
            mirror.log(step, values)

    def curves(self, step: int, answers: dict[str, list[Answer]], bins: int) -> None:
        """Depth curves of a probe to the mirrors: a table of bins, a figure a task, and a map of
        depth and length where there are several lengths. The figures stay in RUN/figures/depth."""
        if not self._mirrors or not any(answers.values()):
            return
        from fullcontext.track import depth

        try:
            found = depth.depth_curves(answers, bins)
            figures = depth.draw(found, step, self.folder / "figures" / "depth")
        except Exception as error:  # a figure is no reason to stop
            log.warning("the depth curves of step %d were not drawn (%s)", step, reason(error))
            return
        rows = depth.table(found, step, self._tokens)
        for mirror in self._mirrors:
            mirror.keep("depth curves", lambda sink: sink.curves(step, rows, figures))

    def results(self) -> None:
        """What a finished run leaves: data.json, and where the export is, or the export itself."""
        self._attach("data", "data-report", "data.json")
        upload = self._tracking.upload_export
        self._attach("model", "model", "export", by_reference=not upload)

    def finish(self, failed: bool = False) -> None:
        """Closes all; each mirror within its timeout."""
        self._file.close()
        for mirror in self._mirrors:
            mirror.finish(failed)
        self._mirrors = []

    def _attach(self, name: str, kind: str, *files: str, by_reference: bool = False) -> None:
        paths = tuple(path for file in files if (path := self.folder / file).exists())
        if paths:
            made = Attachment(name, kind, paths, by_reference)
            for mirror in self._mirrors:
                mirror.keep(" and ".join(files), lambda sink: sink.attach(made))


def sinks(
    tracking: TrackingConfig, folder: Path, who: Identity, tree: dict[str, Any]
) -> list[Sink]:
    """The chosen mirrors; nothing of them is imported or started yet."""
    made: list[Sink] = []
    for kind in tracking.mirrors:
        if kind is MirrorKind.trackio:
            made.append(TrackioSink(who, tree, tracking))
        elif not is_disabled(tracking.mode):
            made.append(WandbSink(folder, who, tree, tracking))
    return made


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
