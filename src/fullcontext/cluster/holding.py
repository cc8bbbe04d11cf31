"""Whether a folder holds a run already."""

from pathlib import Path
from typing import Any

from fullcontext.cluster import attempts
from fullcontext.compose import plain, read_yaml
from fullcontext.train.resuming import refuse_other


def is_finished(folder: Path, config: Any) -> bool:
    """Whether the run of this typed config is finished in `folder`.

    Raises ConfigError if the folder holds a run with other settings, finished or not.
    """
    path = folder / "config.yaml"
    if config is None or not path.exists():
        return False
    refuse_other(plain(read_yaml(path, type(config))), plain(config), folder)
    return bool(attempts.status(folder)["state"] == "finished")
