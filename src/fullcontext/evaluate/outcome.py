"""What lm-evaluation-harness found, as scores and as one line a document; and back from disk."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fullcontext.evaluate.tasks import Entry
from fullcontext.store import read_lines, write_aside

_CARRIED = ("task", "set", "position", "length", "depth", "distance")
"""Fields of a document (of an exported probe) that statistics by position need."""

_PROBES = frozenset({"film", "strict"})
"""Metrics of an exported probe."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one task or group."""

    task: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    """Of lm-eval: documents counted as independent; None for groups it gives none for."""
    documents: int
    shown: bool
    """Whether it stands in tables and comparisons."""
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished entry of a suite; tasks/<name>.json of a run folder."""

    name: str
    scores: list[Score]
    tasks: list[str]
    """Single tasks, each with a file samples/<task>.jsonl."""
    shots: dict[str, int]
    cut: dict[str, int] = field(default_factory=dict)
    """Task -> documents whose prompt lost its middle."""
    seconds: float = 0.0


def scores(entry: Entry, found: dict[str, Any], chosen: str | None) -> list[Score]:
    """The scores of an entry, its own first, then those of its single tasks.

    `chosen` is the metric to show; None shows the first, both scorers of an exported probe, and of
    RULER's metrics, which are lengths, every one. RULER marks a length without samples with -1:
    such marks are no scores.
    """
    own = found.get("groups", {}).get(entry.name) or found["results"].get(entry.name)
    listed = _listed(entry.name, own, found, chosen, shown=True) if own else []
    # A tag (`super-glue`) has no score of its own: its tasks are what is asked for.
    for task in entry.tasks:
        if task != entry.name:
            listed += _listed(task, found["results"][task], found, chosen, shown=not own)
    return listed


def _listed(
    task: str, own: dict[str, Any], found: dict[str, Any], chosen: str | None, *, shown: bool
) -> list[Score]:
    listed = []
    for key, value in own.items():
        metric, _, kind = key.partition(",")
        if not kind or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        values = _values(found, task, metric, kind)
        if is_mark(metric, value) or (value == -1 and values and set(values) == {-1.0}):
            continue
        stderr = own.get(f"{metric}_stderr,{kind}")
        better = found.get("higher_is_better", {}).get(task, {}).get(metric)
        documents = len(values) if values else _documents(found, task)
        listed.append(
            Score(
                task, metric, kind, float(value),
                float(stderr) if isinstance(stderr, int | float) else None,
                documents, False, better is not False,
            )
        )  # fmt: skip
    wanted = chosen or next((score.metric for score in listed), None)
    first = next((score.filter for score in listed if score.metric == wanted), None)
    # An exported probe has two scorers, and neither says all: both are shown unless one is chosen.
    beside = _PROBES - {wanted} if chosen is None and wanted in _PROBES else frozenset()
    return [
        _shown(s, shown and (_is_wanted(s, wanted, first) or s.metric in beside)) for s in listed
    ]


def _is_wanted(score: Score, metric: str | None, first: str | None) -> bool:
    lengths = metric is not None and metric.isdigit() and score.metric.isdigit()
    return (score.metric == metric or lengths) and score.filter == first


def _shown(score: Score, shown: bool) -> Score:
    return Score(**(asdict(score) | {"shown": shown}))


def is_mark(metric: str, value: float) -> bool:
    """Whether -1 marks a length of RULER's without samples, which is no score."""
    return metric.isdigit() and value == -1


def _values(found: dict[str, Any], task: str, metric: str, kind: str) -> list[float]:
    return [
        float(sample[metric])
        for sample in found.get("samples", {}).get(task, [])
        if sample["filter"] == kind and _is_number(sample.get(metric))
        and not is_mark(metric, sample[metric])
    ]  # fmt: skip


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _documents(found: dict[str, Any], task: str) -> int:
    counts = found.get("n-samples", {})
    if task in counts:
        return int(counts[task]["effective"])
    within = found.get("group_subtasks", {}).get(task, [])
    return sum(_documents(found, each) for each in within)


def lines(samples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record a document and filter: what identifies it, what was said, every number."""
    records = []
    for sample in samples:
        numbers = {
            metric: float(sample[metric])
            for metric in sample["metrics"]
            if _is_number(sample.get(metric)) and not is_mark(metric, sample[metric])
        }
        doc = sample["doc"] if isinstance(sample["doc"], dict) else {}
        is_probe = {"set", "position", "depth"} <= set(doc)
        said = sample["filtered_resps"][0] if sample["filtered_resps"] else None
        records.append(
            {
                "doc_id": sample["doc_id"],
                "doc_hash": sample["doc_hash"],
                "prompt_hash": sample["prompt_hash"],
                "filter": sample["filter"],
                "scores": numbers,
                "prediction": said if isinstance(said, str) else None,
                "target": sample["target"] if isinstance(sample["target"], str) else None,
                **{key: doc[key] for key in _CARRIED if is_probe and key in doc},
            }
        )
    return records


def write(folder: Path, outcome: Outcome, samples: dict[str, list[dict[str, Any]]]) -> None:
    """samples/<task>.jsonl for each task, and tasks/<name>.json last: then all are there."""
    for task, records in samples.items():
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        write_aside(samples_file(folder, task), text)
    write_aside(outcome_file(folder, outcome.name), json.dumps(asdict(outcome), indent=1) + "\n")


def samples_file(folder: Path, task: str) -> Path:
    """Where the documents of a task stand."""
    return folder / "samples" / f"{_plain(task)}.jsonl"


def outcome_file(folder: Path, name: str) -> Path:
    """Where an entry of the suite stands once it is finished."""
    return folder / "tasks" / f"{_plain(name)}.json"


def _plain(name: str) -> str:
    return name.replace("/", "__")


def read(folder: Path, name: str) -> Outcome | None:
    """A finished entry, None if it is not there."""
    path = outcome_file(folder, name)
    if not path.exists():
        return None
    record = json.loads(path.read_text("utf-8"))
    record["scores"] = [Score(**score) for score in record["scores"]]
    return Outcome(**record)


def read_samples(folder: Path, tasks: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Task -> its documents; a task without a file has none."""
    return {task: list(read_lines(samples_file(folder, task))) for task in tasks}
