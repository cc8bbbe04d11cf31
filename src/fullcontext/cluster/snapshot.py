"""A copy of the code, so that a queued job runs what it was submitted with."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from fullcontext import provenance
from fullcontext.store import write_aside

FOLDERS = ("src", "conf", "experiments", "sweeps", "slurm")
_LEFT_OUT = {"__pycache__", ".ipynb_checkpoints"}


def take(root: Path, folder: Path) -> Path:
    """Copies the verbs, the sources and the configuration of a checkout below `folder`.

    The copy is named by its content: a second launch with the same code takes the same one.
    It also holds commit.txt: what was committed when the copy was made, and what was not.
    """
    files = sorted(_files(root))
    hashed = hashlib.sha256()
    for path in files:
        hashed.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    copy = folder / hashed.hexdigest()[:12]
    if (copy / provenance.COMMIT).exists():  # written last: the copy is whole
        return copy
    for path in files:
        to = copy / path.relative_to(root)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    write_aside(copy / provenance.COMMIT, provenance.commit())
    return copy


def _files(root: Path) -> Iterator[Path]:
    yield from root.glob("*.py")
    for name in FOLDERS:
        for path in (root / name).rglob("*"):
            parts = path.relative_to(root).parts
            if path.is_file() and not _LEFT_OUT & set(parts) and ".egg-info" not in str(path):
                yield path
