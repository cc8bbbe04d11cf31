"""Run folders, read into memory: what train.py and probe.py wrote, and what of it is damaged."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from fullcontext.compose import ConfigError
from fullcontext.records import Answer
from fullcontext.report.statistics import Counts, Floats

MARKERS = ("config.yaml", "status.json", "metrics.jsonl", "answers", "data.json")
"""A folder with one of these is a run."""


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

    @property
    def finished(self) -> bool:
        return self.state == "finished"


@dataclass(frozen=True, slots=True)
class Probed:
    """The answers to one task at one step, as arrays of shape (items,)."""

    task: str
    step: int
    score: Floats
    depth: Floats
    set_id: Counts
    position: Counts
    mean_logp: Floats
    context_tokens: Counts


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder."""

    folder: Path
    name: str
    status: Status
    config: dict[str, Any]
    metrics: tuple[dict[str, float], ...]
    """One dict a step, steps rising; lines of the same step are merged, the later one wins."""
    probed: tuple[Probed, ...]
    """Sorted by task and step."""
    data: dict[str, Any]
    warnings: tuple[str, ...]
    """Files, or lines of files, that could not be read."""

    def first_and_last(self, task: str) -> list[Probed]:
        """The first and the last probed step of a task; one if they are the same."""
        steps = [probed for probed in self.probed if probed.task == task]
        return steps[:1] + steps[1:][-1:]

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

    Raises ConfigError for a path that is no folder or holds no run.
    """
    folders: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            raise ConfigError(
                f"runs: {given} is not a folder; name run folders, or folders that hold them"
            )
        found = list(_folders(path.resolve()))
        if not found:
            raise ConfigError(
                f"runs: no run in {given}: neither it nor a folder in it has any of"
                f" {', '.join(MARKERS)}; name a folder that train.py or probe.py wrote"
            )
        folders.update(dict.fromkeys(found))
    return [read(folder) for folder in folders]


def _folders(folder: Path) -> Iterator[Path]:
    if any((folder / marker).exists() for marker in MARKERS):
        yield folder
        return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith(".") and not child.is_symlink():
            yield from _folders(child)


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
        metrics=_metrics(folder / "metrics.jsonl", warnings),
        probed=_probed(folder / "answers", warnings),
        data=_object(folder / "data.json", warnings),
        warnings=tuple(warnings),
    )


def _config(path: Path, warnings: list[str]) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        warnings.append(f"{path}: not YAML ({str(error).splitlines()[0]})")
        return {}
    return {str(key): value for key, value in tree.items()} if isinstance(tree, dict) else {}


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
        )
    except (TypeError, ValueError):
        warnings.append(f"{folder / 'status.json'}: step, steps or seconds is no number")
        return Status()


def _lines(path: Path, warnings: list[str]) -> Iterator[dict[str, Any]]:
    """JSON objects of a JSONL file; a torn last line is what a kill leaves and is passed over."""
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        warnings.append(f"{path}: cannot be read ({error})")
        return
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line) if line.strip() else None
            if value is not None and not isinstance(value, dict):
                raise ValueError("not an object")
        except ValueError:
            if number < len(lines):
                warnings.append(f"{path}, line {number}: not a JSON object")
            continue
        if value is not None:
            yield value


def _metrics(path: Path, warnings: list[str]) -> tuple[dict[str, float], ...]:
    steps: dict[int, dict[str, float]] = {}
    for line in _lines(path, warnings):
        numbers = {
            key: float(value)
            for key, value in line.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        if math.isfinite(numbers.get("step", math.nan)):
            steps.setdefault(int(numbers["step"]), {}).update(numbers)
    return tuple(steps[step] for step in sorted(steps))


def _probed(folder: Path, warnings: list[str]) -> tuple[Probed, ...]:
    found = []
    for path in sorted(folder.glob("*_step*.jsonl")) if folder.is_dir() else []:
        task, _, step = path.stem.rpartition("_step")
        if not step.isdigit():
            warnings.append(f"{path}: its name does not end in _step and a number")
            continue
        answers = _answers(path, warnings)
        if answers:
            found.append(_arrays(task, int(step), answers))
    return tuple(sorted(found, key=lambda probed: (probed.task, probed.step)))


def _answers(path: Path, warnings: list[str]) -> list[Answer]:
    answers, bad = {}, 0
    for line in _lines(path, warnings):
        answer = _answer(line)
        if answer is None:
            bad += 1
        else:
            answers[answer.set, answer.position] = answer  # a resumed probe may repeat a line
    if bad:
        warnings.append(f"{path}: {bad} lines are no answers (fields missing or not numbers)")
    return list(answers.values())


def _answer(line: dict[str, Any]) -> Answer | None:
    try:
        answer = Answer(
            task=str(line["task"]),
            set=int(line["set"]),
            position=int(line["position"]),
            items=int(line["items"]),
            depth=float(line["depth"]),
            context_tokens=int(line["context_tokens"]),
            question=str(line["question"]),
            gold=str(line["gold"]),
            prediction=str(line["prediction"]),
            score=float(line["score"]),
            first_logp=_diagnostic(line["first_logp"]),
            mean_logp=_diagnostic(line["mean_logp"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return answer if math.isfinite(answer.score) and 0 <= answer.depth <= 1 else None


def _diagnostic(value: Any) -> float:
    return math.nan if value is None else float(value)


def _arrays(task: str, step: int, answers: list[Answer]) -> Probed:
    return Probed(
        task=task,
        step=step,
        score=np.array([answer.score for answer in answers]),
        depth=np.array([answer.depth for answer in answers]),
        set_id=np.array([answer.set for answer in answers]),
        position=np.array([answer.position for answer in answers]),
        mean_logp=np.array([answer.mean_logp for answer in answers]),
        context_tokens=np.array([answer.context_tokens for answer in answers]),
    )
