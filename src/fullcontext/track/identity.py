"""What a mirror calls a run: the same through every requeue and resume."""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fullcontext.compose import RunInfo
from fullcontext.store import fingerprint, write_aside

KEPT = "identity.json"
SEPARATOR = "/"
"""Between the keys of the flat copy: W&B reads a dot as a way down into the tree."""
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Identity:
    """Under which names a run is found."""

    id: str
    """12 hexadecimal digits, drawn when the folder was made: id.txt."""
    name: str
    group: str
    """The chosen sweep, else the experiment, else `baseline`."""
    job_type: str
    """The verb."""
    tags: tuple[str, ...]
    """`group=option` of every chosen config group."""
    notes: str | None
    """The experiment's claim."""


def identity(folder: Path, info: RunInfo, name: str, verb: str, notes: str | None) -> Identity:
    """Who the run is; what its first process said, since a resume is told neither the experiment
    nor the sweep."""
    path = folder / KEPT
    if path.exists():
        kept = json.loads(path.read_text())
        return Identity(**{**kept, "id": _id(folder), "tags": tuple(kept["tags"])})
    choices = info.choices
    made = Identity(
        id=_id(folder),
        name=name,
        group=choices.get("sweeps") or choices.get("experiments") or "baseline",
        job_type=verb,
        tags=tuple(f"{group}={option}"[:64] for group, option in sorted(choices.items())),
        notes=notes,
    )
    write_aside(path, json.dumps(asdict(made), indent=1))
    return made


def _id(folder: Path) -> str:
    path = folder / "id.txt"
    if not path.exists():
        write_aside(path, fingerprint([str(folder.resolve()), os.urandom(8).hex()]))
    return path.read_text().strip()


def settings(folder: Path, tree: dict[str, Any]) -> dict[str, Any]:
    """A config as a tree, the same flat (`data/context_range`), and the commit; no credentials.

    W&B and trackio group by top-level values: the flat copy has one for every key of the tree.
    """
    both = {**tree, **flat(tree), **_commit(folder / "commit.txt")}
    return {key: cleaned(value) for key, value in both.items()}


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keys below the top as `a/b`; lists as JSON, so that they can be grouped by.

    >>> flat({"seed": 1, "data": {"limit": None, "context_range": [1, 2]}})
    {'data/limit': None, 'data/context_range': '[1, 2]'}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}{SEPARATOR}")
        elif prefix:
            found[prefix + key] = json.dumps(value) if isinstance(value, list) else value
    return found


def _commit(path: Path) -> dict[str, Any]:
    """`git/commit` and `git/dirty` of the checkout that started the run, from its commit.txt."""
    lines = path.read_text().splitlines() if path.exists() else []
    if len(lines) < 2:
        return {}
    return {"git/commit": lines[0], "git/dirty": lines[1] == "dirty"}


def cleaned(value: Any) -> Any:
    """The same without what stands between `://` and `@` of an address: a name and a password."""
    if isinstance(value, dict):
        return {key: cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value


def without_secrets(text: str) -> str:
    """A text without credentials in addresses and without the keys that the environment holds."""
    text = _CREDENTIALS.sub("", text)
    for variable, secret in os.environ.items():
        if variable.endswith(("_KEY", "_TOKEN", "_SECRET", "PASSWORD")) and len(secret) >= 8:
            text = text.replace(secret, f"[{variable}]")
    return text
