"""Runs, read into memory: folders that train.py and probe.py wrote, and files of W&B."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # it has no types

from fullcontext.compose import ConfigError
from fullcontext.report import answers, offline
from fullcontext.report.answers import Probed

MARKERS = ("config.yaml", "status.json", "metrics.jsonl", "answers", "data.json")
"""A folder with one of these is a run."""
WANDB = ".wandb"
"""How the name of a transaction log of W&B ends."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run came; the defaults are those of a run without status.json."""

    verb: str = "unknown"
    name: str = ""
    id: str = ""
    state: str = "unknown"
    step: int = 0
    steps: int = 0
    error: str | None = None
    seconds: float = 0.0
    ranks: int = 1
    device: str = ""
    """Where the ranks computed: "cuda", "cpu"; empty where it is not known."""

    @property
    def finished(self) -> bool:
        return self.state == "finished"


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    folder: Path
    """The run folder, or the (last) file of W&B it was read from."""
    name: str
    status: Status
    config: dict[str, Any]
    metrics: tuple[dict[str, float], ...]
    """One dict a step, steps rising; lines of the same step are merged, the later one wins."""
    probed: tuple[Probed, ...]
    """Sorted by task, length and step."""
    data: dict[str, Any]
    warnings: tuple[str, ...]
    """Files, or lines of files, that could not be read."""
    evaluated: dict[str, float] = field(default_factory=dict)
    """Scores of evaluate.py in 0-1, by "task/metric"; "average/metric" is a mean over tasks."""
    is_offline: bool = False
    """Read from files of W&B, which hold no answers and no account of the data."""
    plan: dict[str, Any] = field(default_factory=dict)
    """plan.json: what it was planned to take."""

    def series(self, key: str) -> list[tuple[float, float, float]]:
        """(step, tokens, value) of each line that holds a finite value of `key`."""
        return [
            (line["step"], line.get("tokens", math.nan), line[key])
            for line in self.metrics
            if math.isfinite(line.get(key, math.nan))
        ]

    def last(self, key: str) -> float | None:
        """The last finite value of a metric."""
        series = self.series(key)
        return series[-1][2] if series else None


def find(paths: list[str]) -> list[Run]:
    """The runs in `paths`, in their order and each once; folders are searched at any depth.

    A run folder that has metrics of its own stands for its W&B files, too.

    Raises ConfigError for a path that holds no run.
    """
    places: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if not path.is_dir() and not (path.is_file() and path.suffix == WANDB):
            raise ConfigError(
                f"runs: {given} is not a folder and no {WANDB} file; name run folders, or folders"
                " that hold them"
            )
        found = list(_places(path.resolve()))
        if not found:
            raise ConfigError(
                f"runs: no run in {given}: neither it nor a folder in it has any of"
                f" {', '.join(MARKERS)} or a {WANDB} file; name a folder that train.py, probe.py"
                " or W&B wrote"
            )
        places.update(dict.fromkeys(found))
    runs = [read(place) for place in places if place.is_dir()]
    mirrored = read_offline([place for place in places if not place.is_dir()])
    known = {run.status.id for run in runs}
    return runs + [run for run in mirrored if not run.status.id or run.status.id not in known]


def _places(path: Path) -> Iterator[Path]:
    """Run folders and W&B files in or at `path`."""
    if path.is_file():
        yield path
        return
    if any((path / marker).exists() for marker in MARKERS):
        yield path
        return
    logs = sorted(path.glob(f"*{WANDB}"))
    yield from logs
    for child in sorted(path.iterdir()) if not logs else []:
        if child.is_dir() and not child.name.startswith(".") and not child.is_symlink():
            yield from _places(child)


def read(folder: Path) -> Run:
    """One run folder; whatever is missing is empty, whatever is damaged is in `warnings`."""
    warnings: list[str] = []
    config = _config(folder / "config.yaml", warnings)
    status = _status(_object(folder / "status.json", warnings), folder, warnings)
    return Run(
        folder=folder,
        name=status.name or str(config.get("name") or "") or folder.name,
        status=status,
        config=config,
        metrics=_metrics(answers.lines(folder / "metrics.jsonl", warnings)),
        probed=answers.read(folder / "answers", warnings),
        data=_object(folder / "data.json", warnings),
        plan=_object(folder / "plan.json", warnings),
        evaluated=_evaluated(folder / "results.json", warnings),
        warnings=tuple(warnings),
    )


def _evaluated(path: Path, warnings: list[str]) -> dict[str, float]:
    """The scores of a results.json; of a metric under several filters, the one that is shown."""
    found = _object(path, warnings)
    try:
        means = {f"average/{each['metric']}": each["value"] for each in found.get("averages", [])}
        listed = sorted(found.get("scores", []), key=lambda score: bool(score["shown"]))
        scores = {f"{each['task']}/{each['metric']}": each["value"] for each in listed}
        return {name: float(value) for name, value in (means | scores).items()}
    except (KeyError, TypeError, ValueError):
        warnings.append(f"{path}: not the scores of evaluate.py")
        return {}


def read_offline(paths: list[Path]) -> list[Run]:
    """The runs of W&B files. A resumed run has several, which are one run: later steps win."""
    files: dict[str, list[tuple[Path, offline.Logged, list[str]]]] = {}
    for path in sorted(paths, key=_written):
        warnings: list[str] = []
        logged = offline.read(path, warnings)
        files.setdefault(logged.id or str(path), []).append((path, logged, warnings))
    return [_joined(parts) for parts in files.values()]


def _written(path: Path) -> tuple[str, str]:
    """When W&B began a file, which it writes into the name of its folder."""
    begun = re.search(r"\d{8}_\d{6}", path.parent.name)
    return (begun[0] if begun else "", str(path))


def _joined(parts: list[tuple[Path, offline.Logged, list[str]]]) -> Run:
    path, last, _ = parts[-1]
    metrics = _metrics(
        {**line, "step": line.get("global_step", line.get("_step"))}
        for _, logged, _ in parts
        for line in logged.history
    )
    seconds = last.summary.get("seconds", last.summary.get("_runtime"))
    state, error = "failed", f"exit code {last.exit_code}"
    if last.exit_code is None:
        state, error = "unknown", "the file has no record of an end: killed, or still running"
    return Run(
        folder=path,
        name=last.name or last.id or path.stem,
        status=Status(
            verb=last.verb or "unknown",
            name=last.name,
            id=last.id,
            state="finished" if last.exit_code == 0 else state,
            step=int(metrics[-1]["step"]) if metrics else 0,
            error=error if last.exit_code != 0 else None,
            seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        ),
        config=last.config,
        metrics=metrics,
        probed=(),
        data={},
        warnings=tuple(warning for _, _, warnings in parts for warning in warnings),
        is_offline=True,
    )


def _config(path: Path, warnings: list[str]) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _loader())
    except (yaml.YAMLError, OSError, ValueError) as error:
        warnings.append(f"{path}: not YAML ({str(error).splitlines()[0]})")
        return {}
    return {str(key): value for key, value in tree.items()} if isinstance(tree, dict) else {}


@cache
def _loader() -> Any:
    """The safe loader, in C where it was built: ten times as fast. Reads 1e-3 as a number."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # built or not
        pass

    number = r"^[-+]?(\d[\d_]*\.?[\d_]*|\.[\d_]+)[eE][-+]?\d+$"
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(number), list("-+0123456789.")
    )
    return Loader


def _object(path: Path, warnings: list[str]) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        warnings.append(f"{path}: not JSON ({error})")
        return {}
    if not isinstance(value, dict):
        warnings.append(f"{path}: not a JSON object")
        return {}
    return value


def _status(given: dict[str, Any], folder: Path, warnings: list[str]) -> Status:
    try:
        return Status(
            verb=str(given.get("verb") or "unknown"),
            name=str(given.get("name") or ""),
            id=str(given.get("id") or ""),
            state=str(given.get("state") or "unknown"),
            step=int(given.get("step") or 0),
            steps=int(given.get("steps") or 0),
            error=str(given["error"]) if given.get("error") else None,
            seconds=float(given.get("seconds") or 0.0),
            ranks=int(given.get("ranks") or 1),
            device=str(given.get("device") or ""),
        )
    except (TypeError, ValueError):
        warnings.append(f"{folder / 'status.json'}: step, steps, seconds or ranks is no number")
        return Status()


def _metrics(lines: Iterable[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    steps: dict[int, dict[str, float]] = {}
    for line in lines:
        numbers = {
            key: float(value)
            for key, value in line.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        if math.isfinite(numbers.get("step", math.nan)):
            steps.setdefault(int(numbers["step"]), {}).update(numbers)
    return tuple(steps[step] for step in sorted(steps))
