"""Uploads run folders to W&B from what is in them: python -m fullcontext.track RUN [RUN ...].

For runs whose records never reached W&B's own files, e.g. because wandb was not installed there;
`wandb sync` is for those that did.
"""

import json
import logging
import sys
from pathlib import Path

from fullcontext.compose import ConfigError
from fullcontext.config import TrackingConfig, TrackingMode
from fullcontext.store import read_lines
from fullcontext.track.identity import Identity, settings
from fullcontext.track.mirror import Attachment
from fullcontext.track.on_wandb import WandbSink
from fullcontext.track.tracker import METRICS, RECORD

log = logging.getLogger("fullcontext")


def upload(folder: Path) -> str:
    """Sends metrics, depth curves and files of a run folder; returns the run's address.

    Raises ConfigError for a folder that is no run, and when the server does not take it.
    """
    from omegaconf import OmegaConf

    if not (folder / "identity.json").exists():
        raise ConfigError(f"{folder} is no run folder of train.py (no identity.json); name one")
    tree = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(tree, dict)
    named = {str(key): value for key, value in tree.items()}
    where = named.get("tracking", {})
    tracking = TrackingConfig(
        mode=TrackingMode.online,
        project=where.get("project", "fullcontext"),
        entity=where.get("entity"),
        finish_timeout_s=600,
    )
    kept = json.loads((folder / "identity.json").read_text())
    sink = WandbSink(
        folder, Identity(**{**kept, "tags": tuple(kept["tags"])}), settings(folder, named), tracking
    )
    try:
        sink.open("online")
    except Exception as error:
        raise ConfigError(f"W&B does not take {folder} ({error}); see `wandb login`") from error
    address = sink.address
    _send(sink, folder, int(named.get("probe", {}).get("bins", 10)))
    late = sink.finish(failed=False)
    if late:
        raise ConfigError(late)
    return address


def _send(sink: WandbSink, folder: Path, bins: int) -> None:
    from fullcontext.track import depth

    tokens: float | None = None
    probed = depth.read_answers(folder / "answers")
    for record in read_lines(folder / METRICS):
        step = int(record.pop("step"))
        tokens = record.get("tokens", tokens)
        sink.log(step, record)
        if any(key.startswith("probe/") for key in record) and step in probed:
            found = depth.depth_curves(probed[step], bins)
            figures = depth.draw(found, step, folder / "figures" / "depth")
            sink.curves(step, depth.table(found, step, tokens), figures)
    sink.attach(Attachment("record", "run-record", tuple(_there(folder, *RECORD))))
    for name, kind, file in (("data", "data-report", "data.json"), ("model", "model", "export")):
        for path in _there(folder, file):
            sink.attach(Attachment(name, kind, (path,), by_reference=path.is_dir()))


def _there(folder: Path, *files: str) -> list[Path]:
    return [path for file in files if (path := folder / file).exists()]


def main(words: list[str]) -> int:
    """Exit status 2 with one line for each folder that could not be uploaded."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not words:
        log.error("name run folders: python -m fullcontext.track RUN [RUN ...]")
        return 2
    status = 0
    for word in words:
        try:
            log.info("%s: %s", word, upload(Path(word)))
        except ConfigError as error:
            log.error("error: %s", error)
            status = 2
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
