"""The data of public tasks from folders on this machine, where there is no hub.

A task of lm-evaluation-harness names a repository of the hub and often a configuration in it
(`dataset_path`, `dataset_name`). Its files are looked for in

    DATA_FOLDER/<repository, a folder for each part>/<configuration>/<split>.jsonl

and the same without the configuration's folder, with `__` for the `/` of the repository, with
`.json`, `.jsonl.gz` or `.parquet`, and in parts as the hub keeps them
(`data/<split>-00000-of-00002.parquet`), so that a clone of the repository can lie there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.model import hub

_FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".gz": "json"}
_BUILDERS = ("json", "parquet", "csv", "text", "arrow")
"""What `datasets` reads itself: a task that names one brings its own files."""
_SPLITS = ("train", "validation", "test", "dev", "auxiliary_train")


@contextmanager
def reachable(folder: Path | None) -> Iterator[None]:
    """While the block runs, `datasets.load_dataset` reads from `folder` what is there.

    What is not comes from the hub or its cache; raises ConfigError naming the data set, and where
    its files would be looked for, if that fails. The hub is not waited for where it does not
    answer.
    """
    import datasets

    load, offline = datasets.load_dataset, datasets.config.HF_HUB_OFFLINE

    def found(path: str, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if path in _BUILDERS:
            return load(path, name, *args, **kwargs)
        files = splits(folder, path, name) if folder is not None else {}
        if files:
            kind = _FORMATS[Path(next(iter(files.values()))[0]).suffix]
            return load(kind, data_files=files, split=kwargs.get("split"))
        try:
            return load(path, name, *args, **kwargs)
        except Exception as error:
            raise ConfigError(_missing(path, name, folder, error)) from error

    datasets.load_dataset = found
    datasets.config.HF_HUB_OFFLINE = offline or not hub.answers()
    try:
        yield
    finally:
        datasets.load_dataset, datasets.config.HF_HUB_OFFLINE = load, offline


def splits(folder: Path, path: str, name: str | None) -> dict[str, list[str]]:
    """Split -> its files, in the first place that has any; empty where none has."""
    for root in (folder / path, folder / path.replace("/", "__")):
        inner = [root / name, root / name / "data", root / "data" / name] if name else []
        for place in (*inner, *([] if inner and inner[0].is_dir() else [root, root / "data"])):
            found = _files(place)
            if found:
                return found
    return {}


def _files(place: Path) -> dict[str, list[str]]:
    """All of one format: that of the first file in the order of _FORMATS."""
    if not place.is_dir():
        return {}
    files = [path for path in sorted(place.iterdir()) if path.suffix in _FORMATS]
    for suffix in _FORMATS:
        found: dict[str, list[str]] = {}
        for path in files:
            split = next((s for s in _SPLITS if _is_of(path, s)), None)
            if split is not None and path.suffix == suffix:
                found.setdefault(split, []).append(str(path))
        if found:
            return found
    return {}


def _is_of(path: Path, split: str) -> bool:
    return path.name.split(".")[0] == split or path.name.startswith(f"{split}-")


def _missing(path: str, name: str | None, folder: Path | None, error: Exception) -> str:
    place = f"{folder if folder is not None else 'FOLDER'}/{path}/{f'{name}/' if name else ''}"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"the data set {path}{f' ({name})' if name else ''} is not on this machine and the hub does"
        f" not give it ({reason}); put its splits at {place}test.jsonl (validation, train)"
        f"{'' if folder is not None else ' and add data_folder=FOLDER'}, or connect to the hub"
    )
