"""What an adaptation came to: scores by kind and mode, costs, and when it pays."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from fullcontext.adapt import metrics
from fullcontext.config import Mode
from fullcontext.config.loogle import LONG_KINDS

Record = dict[str, Any]

UNADAPTED = ", unadapted"
"""Ends the name of a mode, in costs, where the model answers without the adapter."""


def means(answers: Iterable[Record]) -> list[Record]:
    """For each mode, with and without the adapter, and kind: every score as metrics.table has it,
    and how many answers were cut at the most tokens."""
    groups: dict[tuple[str, bool], list[Record]] = defaultdict(list)
    for each in answers:
        groups[each["mode"], each["adapted"]].append(each)
    rows = []
    for (mode, adapted), found in sorted(groups.items()):
        table = metrics.table((each["kind"], each["scores"]) for each in found)
        for kind, scores in table.items():
            own = [each for each in found if _is_of(each["kind"], kind)]
            rows.append(
                {
                    "mode": mode, "adapted": adapted, "kind": kind, "questions": len(own),
                    "cut": sum(each["cut"] for each in own), "scores": scores,
                }
            )  # fmt: skip
    return rows


def _is_of(kind: str, pool: str) -> bool:
    return pool in ("all", kind) or (pool == "long" and kind in LONG_KINDS)


def crossover(training_s: float, context: Record, closed: Record) -> dict[str, float | None]:
    """Questions about a document from which on adapting to it is the cheaper way (CPU-seconds).

    `alone` holds the adaptation against reading the document for every question, `cached` against
    reading it once and keeping its keys and values. None where it never pays.
    """
    dearer = context["each_s"] - closed["each_s"] - closed["read_s"]
    alone = dearer + context["read_s"]
    return {
        "alone": training_s / alone if alone > 0 else None,
        "cached": max(0.0, training_s - context["read_s"]) / dearer if dearer > 0 else None,
    }


def averaged(costs: Sequence[Record]) -> Record:
    """One cost of a mode out of those of several documents (answering.others): questions and
    tokens left out summed, the rest on average a document or a question."""
    questions = sum(each["questions"] for each in costs)
    return {
        "questions": questions,
        "read_s": sum(each["read_s"] for each in costs) / len(costs),
        "each_s": sum(each["questions"] * each["each_s"] for each in costs) / questions,
        "tokens": sum(each["questions"] * each["tokens"] for each in costs) / questions,
        "left_out": sum(each["left_out"] for each in costs),
    }


def merged(costs: Sequence[Record]) -> Record:
    """Of all documents: sums of what training took, means of the rest."""
    trained = [each["training"] for each in costs]
    total: Record = {
        "documents": len(costs),
        "training_cpu_s": sum(each["cpu_s"] for each in trained),
        "training_wall_s": sum(each["wall_s"] for each in trained),
        "questions_cpu_s": sum(each["questions_cpu_s"] for each in costs),
        "trained_weights": trained[0]["weights"],
        # With and without the adapter the same tokens are left out: counted once.
        "left_out": sum(
            mode["left_out"]
            for each in costs
            for name, mode in each["modes"].items()
            if not name.endswith(UNADAPTED)
        ),
        "answer_tokens_closed": _length(costs, Mode.closed_book),
        "answer_tokens_context": _length(costs, f"{Mode.in_context}{UNADAPTED}"),
    }
    paying: dict[str, list[float | None]] = defaultdict(list)
    for each in costs:
        for name, value in (each["crossover"] or {}).items():
            paying[name].append(value)
    for name, values in paying.items():
        known = [value for value in values if value is not None]
        whole = len(known) == len(values)
        total[f"crossover_{name}"] = sum(known) / len(known) if known and whole else None
    return total


def _length(costs: Sequence[Record], mode: str) -> float | None:
    """Tokens of an answer in a mode; None if not all documents were asked so, or an earlier version
    did not count them."""
    found = [each["modes"].get(mode) for each in costs]
    if not all(each and "tokens" in each for each in found):
        return None
    return float(averaged(found)["tokens"])


def drop(rows: Sequence[Record], score: str) -> float | None:
    """By how much the answers about other documents are worse with the adapter, 0-1."""
    found = {
        row["adapted"]: row["scores"].get(score, {}).get("mean")
        for row in rows
        if row["mode"] == "others" and row["kind"] == "all"
    }
    with_adapter, without = found.get(True), found.get(False)
    if with_adapter is None or without is None:
        return None
    return float(without - with_adapter)


def counted(found: Iterable[dict[str, int]]) -> dict[str, int]:
    """Sums by reason."""
    total: Counter[str] = Counter()
    for each in found:
        total.update(each)
    return dict(sorted(total.items()))
