"""The folder of a stage: it is finished when it has a manifest, which is written last.

The manifest has the settings that the content follows from, what was counted, and the hash of every
file; a fingerprint over all of them makes the stage after it depend on it.
"""

import json
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.store import MANIFEST, differences, digest, fingerprint, write_aside


def finish(folder: Path, settings: dict[str, Any], files: list[str], **facts: Any) -> str:
    """Writes the manifest of a stage whose files are whole; its fingerprint."""
    content = {
        "settings": settings,
        **facts,
        "files": {name: digest(folder / name) for name in files},
    }
    text = json.dumps({**content, "whole": fingerprint(content)}, indent=1, ensure_ascii=False)
    write_aside(folder / MANIFEST, text + "\n")
    return fingerprint(content)


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage, `whole` (its fingerprint) included; None if it has none.

    Raises ConfigError if it is not as it was written.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        whole = content.pop("whole")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is no manifest ({error}); delete {folder}") from error
    if whole != fingerprint(content):
        raise ConfigError(f"{path} is not as it was written; delete {folder}")
    return {**content, "whole": whole}


def whole(folder: Path) -> str:
    """The fingerprint of a finished stage."""
    content = read(folder)
    assert content is not None, folder
    return str(content["whole"])


def finished(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether a stage with these settings is finished in a folder.

    Raises ConfigError, naming them, if it has other settings, and if a file of it is missing or
    changed.
    """
    content = read(folder)
    if content is None:
        return False
    differing = differences(content["settings"], json.loads(json.dumps(settings)))
    if differing:
        parts = "; ".join(f"{key}: {old!r} there, {new!r} here" for key, old, new in differing)
        raise ConfigError(
            f"{folder} was made with other settings ({parts}); choose another name=, or delete it"
            " and what was made from it"
        )
    refuse_damaged(folder, content)
    return True


def refuse_damaged(folder: Path, content: dict[str, Any]) -> None:
    """Raises ConfigError naming the first file of a finished stage that is missing or changed."""
    for name, expected in content["files"].items():
        fault = None if (folder / name).exists() else "is missing"
        if fault is None and digest(folder / name) != expected:
            fault = "is not as it was written"
        if fault:
            raise ConfigError(
                f"{folder / name} {fault}; delete {folder} and run the same command again"
            )
