"""An evaluation against a reference: the same documents, paired."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fullcontext.evaluate.outcome import Outcome, Score
from fullcontext.report.comparison import holm

Floats = npt.NDArray[np.float64]
Documents = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Delta:
    """A score minus that of the reference."""

    task: str
    metric: str
    filter: str
    value: float
    reference: float
    delta: float
    low: float | None
    """Ends of the 95 % interval of `delta`; None where there is none."""
    high: float | None
    p: float | None
    holm: float | None
    """`p` corrected for all the deltas of the table (Holm)."""
    documents: int
    """Pairs."""
    note: str
    """Why there is no interval, or what does not fit; empty if nothing."""


def compare(
    own: Sequence[Outcome], reference: Sequence[Outcome], samples: Documents, others: Documents
) -> list[Delta]:
    """The shown scores that both have. Holm's correction is over those with a p."""
    known = {(s.task, s.metric, s.filter): (o, s) for o in reference for s in o.scores}
    deltas = []
    for outcome in own:
        for score in outcome.scores:
            found = known.get((score.task, score.metric, score.filter))
            if score.shown and found is not None:
                deltas.append(_delta(outcome, score, *found, samples, others))
    raw = np.array([delta.p for delta in deltas if delta.p is not None], dtype=np.float64)
    corrected = iter(holm(raw).tolist())
    return [replace(d, holm=next(corrected)) if d.p is not None else d for d in deltas]


def _delta(
    outcome: Outcome, score: Score, theirs: Outcome, other: Score,
    samples: Documents, others: Documents,
) -> Delta:  # fmt: skip
    key = (score.metric, score.filter)
    tasks = outcome.tasks if score.task == outcome.name else [score.task]
    now, before, clusters, notes = paired(tasks, samples, others, key)
    low = high = p = None
    if len(now) == 0:
        notes.append("no samples of the same documents")
    elif not _is_mean(score.value, tasks, samples, key):
        notes.append("not the mean of its documents: no interval")
    elif not _is_mean(other.value, tasks, others, key):
        notes.append("not the mean of its documents in the reference: no interval")
    else:
        low, high, p = test(now, before, clusters)
    if outcome.shots != theirs.shots:
        notes.append(f"worked examples differ: {_differing(outcome.shots, theirs.shots)}")
    return Delta(
        score.task, score.metric, score.filter, score.value, other.value,
        float(np.mean(now - before)) if p is not None else score.value - other.value,
        low, high, p, None, len(now), "; ".join(notes),
    )  # fmt: skip


def paired(
    tasks: Sequence[str], samples: Documents, others: Documents, key: tuple[str, str]
) -> tuple[Floats, Floats, list[str], list[str]]:
    """Scores of both sides by document, the cluster of each, and what did not pair."""
    now, before, clusters = [], [], []
    alone = 0
    for task in tasks:
        mine, theirs = (_by_document(side.get(task, []), key) for side in (samples, others))
        both = [document for document in mine if document in theirs]
        alone += len(mine) + len(theirs) - 2 * len(both)
        now += [mine[document][0] for document in both]
        before += [theirs[document][0] for document in both]
        clusters += [f"{task} {mine[document][1]}" for document in both]
    notes = [f"{alone} documents are in one of the two only"] if alone and now else []
    return np.array(now), np.array(before), clusters, notes


def _by_document(
    records: Iterable[dict[str, Any]], key: tuple[str, str]
) -> dict[tuple[int, str], tuple[float, str]]:
    metric, kind = key
    found = {}
    for record in records:
        if record["filter"] == kind and metric in record["scores"]:
            # Questions on one context of an exported probe are not independent.
            own = "set" not in record
            cluster = str(record["doc_id"] if own else (record.get("length"), record["set"]))
            found[record["doc_id"], record["doc_hash"]] = (record["scores"][metric], cluster)
    return found


def _is_mean(value: float, tasks: Sequence[str], samples: Documents, key: tuple[str, str]) -> bool:
    metric, kind = key
    values = [
        record["scores"][metric]
        for task in tasks
        for record in samples.get(task, [])
        if record["filter"] == kind and metric in record["scores"]
    ]
    return bool(values) and abs(float(np.mean(values)) - value) < 1e-6 * max(1.0, abs(value))


def test(
    now: Floats, before: Floats, clusters: Sequence[str]
) -> tuple[float | None, float | None, float]:
    """95 % interval of the mean difference, and a two-sided p.

    The interval is Student's over the differences, with the variance between clusters where
    documents share a context (as many degrees of freedom as there are clusters, less one). p is
    McNemar's exact one where every score is 0 or 1 and no context is shared, else Student's.
    Without any spread there is no interval, and p is that of the signs: 1 where nothing differs.
    """
    from scipy import stats

    differences = now - before
    sums: dict[str, float] = defaultdict(float)
    for cluster, centred in zip(clusters, differences - differences.mean(), strict=True):
        sums[cluster] += float(centred)
    n, groups = len(differences), len(sums)
    binary = set(np.unique([now, before])) <= {0.0, 1.0} and groups == n
    more, less = int(np.sum(differences > 0)), int(np.sum(differences < 0))
    signs = float(stats.binomtest(more, more + less).pvalue) if more + less else 1.0
    spread = sum(total * total for total in sums.values())
    if groups < 2 or spread < 1e-18:
        return None, None, signs if groups == n else 1.0
    error = float(np.sqrt(groups / (groups - 1) * spread) / n)
    mean = float(differences.mean())
    half = float(stats.t.ppf(0.975, groups - 1)) * error
    p = signs if binary else float(2 * stats.t.sf(abs(mean) / error, groups - 1))
    return mean - half, mean + half, p


def _differing(own: dict[str, int], theirs: dict[str, int]) -> str:
    return ", ".join(
        f"{task} {own.get(task)} and {theirs.get(task)}"
        for task in sorted({*own, *theirs})
        if own.get(task) != theirs.get(task)
    )
