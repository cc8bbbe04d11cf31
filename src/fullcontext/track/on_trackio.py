"""trackio as a sink: a local board (`trackio show`) without account or network."""

import io
import os
from contextlib import redirect_stdout
from typing import Any

from fullcontext.config import TrackingConfig
from fullcontext.track.identity import Identity
from fullcontext.track.mirror import Attachment, Figures, Table

INSTALL = "pip install 'fullcontext[trackio]'"


class TrackioSink:
    """One trackio run, in TRACKIO_DIR or trackio's own folder."""

    title = "trackio"
    start_timeout_s = 60.0

    def __init__(self, who: Identity, tree: dict[str, Any], settings: TrackingConfig) -> None:
        self.who, self.tree, self.settings = who, tree, settings
        self.finish_timeout_s: float = settings.finish_timeout_s
        self._run: Any = None

    def start(self) -> str:
        try:
            import trackio
        except ModuleNotFoundError as error:
            if error.name != "trackio":
                raise
            raise ModuleNotFoundError(f"it is not installed; {INSTALL}") from error
        if not hasattr(trackio, "Artifact"):
            raise ImportError(f"{trackio.__version__} is too old; {INSTALL}")
        project = self.settings.project
        with redirect_stdout(io.StringIO()):
            self._run = trackio.init(
                project=project,
                name=f"{self.who.name}-{self.who.id}",
                group=self.who.group,
                config={**self.tree, "job_type": self.who.job_type, "tags": list(self.who.tags),
                        "notes": self.who.notes},
                resume="allow",
                embed=False,
            )  # fmt: skip
        return f"trackio: see it with trackio show --project {project}"

    def retreat(self, error: BaseException) -> str:
        raise error

    def log(self, step: int, values: dict[str, Any]) -> None:
        self._run.log({"global_step": step, **values}, step=step)

    def curves(self, step: int, table: Table, figures: Figures) -> None:
        import trackio

        rows = trackio.Table(columns=list(table.columns), data=table.rows)
        drawn = {name: trackio.Image(str(path)) for name, path in figures.items()}
        self._run.log({"curves/table": rows, **drawn}, step=step)

    def attach(self, attachment: Attachment) -> None:
        import trackio

        empty = trackio.Artifact(f"{attachment.name}-{self.who.id}", type=attachment.kind)
        self._run.log_artifact(attachment.put_in(empty))

    def finish(self, failed: bool) -> str | None:
        with redirect_stdout(io.StringIO()):
            self._run.finish()
        return None

    def abandon(self) -> None:
        """Nothing: its threads are daemons."""

    def remedy(self) -> str:
        where = os.environ.get("TRACKIO_DIR", "trackio's folder")
        return f"what it has taken is in {where}; the page of report.py needs no tracker"
