"""What a store holds, as numbers, as figures and as a data card that the hub understands."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fullcontext.data import exchange
from fullcontext.store import read_table, write_aside

WRITER_KEYS = ("name", "model", "path", "temperature", "top_p", "max_new_tokens")
"""What of a writer's settings is told to others; no address, no budget."""

_MOST_SOURCES = 30
"""Sources listed by name; the others are summed up."""
_BINS = 12


def accounts(folder: Path, names: list[str]) -> dict[str, Any]:
    """Segments and questions by length, kind, source and evidence; from the files of a store."""
    lengths: list[np.ndarray[Any, Any]] = []
    fillers: list[np.ndarray[Any, Any]] = []
    sources: Counter[str] = Counter()
    words: dict[str, list[np.ndarray[Any, Any]]] = {}
    evidence: dict[str, Counter[int]] = {}
    asked_of: Counter[str] = Counter()
    for name in names:
        table = read_table(folder / name)
        if name.startswith("questions"):
            _add_questions(table, words, evidence, asked_of)
            continue
        tokens = np.diff(table["tokens"].combine_chunks().offsets.to_numpy())
        (fillers if name.startswith("fillers") else lengths).append(tokens)
        if name.startswith("segments"):
            sources.update(_counted(table["source"]))
    counted = _lengths(lengths)
    return {
        "segments": counted["count"],
        "tokens": counted["sum"],
        "segment_tokens": counted,
        **({"fillers": _lengths(fillers)} if fillers else {}),
        "segments_by_source": _most(sources),
        "questions_by_source": _most(asked_of),
        "evidence_segments": {
            kind: {str(n): count for n, count in sorted(counts.items())}
            for kind, counts in sorted(evidence.items())
        },
        "words": {key: _lengths(values) for key, values in sorted(words.items())},
    }


def _add_questions(
    table: pa.Table,
    words: dict[str, list[np.ndarray[Any, Any]]],
    evidence: dict[str, Counter[int]],
    asked_of: Counter[str],
) -> None:
    asked_of.update(_counted(table["source"]))
    for kind in pc.unique(table["kind"]).to_pylist():
        rows = table.filter(pc.equal(table["kind"], kind))
        counts = pc.list_value_length(rows["evidence"])
        evidence.setdefault(kind, Counter()).update(
            {int(n): c for n, c in _counted(counts).items()}
        )
        for part in ("question", "answer"):
            split = pc.list_value_length(
                pc.utf8_split_whitespace(pc.utf8_trim_whitespace(rows[part]))
            )
            words.setdefault(f"{kind} {part}", []).append(split.to_numpy())


def _counted(column: Any) -> dict[Any, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def _lengths(parts: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Count, sum, mean, quantiles and a histogram up to the 99th percentile."""
    values = np.concatenate(parts) if parts else np.zeros(0, int)
    if not len(values):
        return {"count": 0, "sum": 0}
    least, top = int(values.min()), int(np.percentile(values, 99)) + 1
    step = max(1, -(-(top - least) // _BINS))
    edges = np.arange(least, max(top, least + 1) + step, step)
    counts, _ = np.histogram(np.minimum(values, edges[-1]), edges)
    return {
        "count": len(values),
        "sum": int(values.sum()),
        "mean": round(float(values.mean()), 1),
        "median": float(np.median(values)),
        "p95": round(float(np.percentile(values, 95)), 1),
        "longest": int(values.max()),
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def _most(counts: Counter[str]) -> dict[str, int]:
    found = dict(sorted(counts.most_common(_MOST_SOURCES), key=lambda item: (-item[1], item[0])))
    rest = len(counts) - len(found)
    if rest > 0:
        found[f"{rest:,} other sources"] = sum(counts.values()) - sum(found.values())
    return found


def write(folder: Path, content: dict[str, Any]) -> None:
    """README.md (the card, with which `datasets.load_dataset(folder, "questions")` works) and the
    figures of a store."""
    draw(folder / "figures", content)
    write_aside(folder / "README.md", exchange.front_matter(content) + text(content))


def text(content: dict[str, Any]) -> str:
    """The data card: sources, licences, counts, writer, prompts, filters and what they dropped."""
    settings, sizes = content["settings"], content["segment_tokens"]
    writer = ", ".join(f"{k} {v}" for k, v in content["writer"].items() if v is not None)
    lines = [
        "# Questions on segments, for long contexts",
        "",
        "Made by [fullcontext](https://arxiv.org/abs/2404.16811) "
        f"{content['version']} as IN2 training makes it: every question can be answered from known"
        " segments alone. Contexts are assembled in training and not stored.",
        "",
        "| source | licence |",
        "|---|---|",
        *(f"| {source['name']} | {source['licence']} |" for source in content["sources"]),
        "",
        f"- writer: {writer}",
        f"- tokenizer: {settings['tokenizer']}; segments of at least {settings['segment_size']}"
        " tokens",
        f"- {content['documents']:,} documents, {content['texts']:,} texts,"
        f" {content['segments']:,} segments, {content['tokens']:,} tokens"
        + (f" (mean {sizes['mean']}, median {sizes['median']:.0f})" if "mean" in sizes else ""),
        "",
        "| kind | questions | wanted | asked | evidence segments: questions |",
        "|---|--:|--:|--:|---|",
    ]
    for kind, made in content["questions"].items():
        counts = content["evidence_segments"].get(kind, {})
        spread = ", ".join(f"{n}: {count:,}" for n, count in counts.items())
        asked = content["asked"].get(kind)
        lines.append(
            f"| {kind} | {made:,} | {settings['examples'].get(kind, 0):,} |"
            f" {'' if asked is None else f'{asked:,}'} | {spread} |"
        )
    lines += ["", "| filter | looked at | dropped |", "|---|--:|--:|"]
    for name, filter in content["filters"].items():
        lines.append(f"| {name} | {filter['checked']:,} | {filter['dropped']:,} |")
    lines += ["", "| dropped or passed over | count |", "|---|--:|"]
    lines += [f"| {reason} | {count:,} |" for reason, count in content["dropped"].items()]
    sets = content["evaluation_sets"]
    if sets:
        lines += [
            "",
            f"Held against {', '.join(f'`{name}`' for name in sets['sets'])}:"
            f" {sets['different']:,} runs of {sets['words']} words;"
            f" {sets['strings_too_short']:,} strings were too short to match.",
        ]
    if content["contaminated"]:
        lines += ["", "Documents left out because they share words with an evaluation set:", ""]
        lines += [
            f"- `{entry['document']}`: {entry['shared']}" for entry in content["contaminated"]
        ]
    return "\n".join(lines) + "\n"


def draw(folder: Path, content: dict[str, Any]) -> None:
    """figures/segment_tokens.png, question_words.png and answer_words.png."""
    from fullcontext.report.histograms import histogram

    if content["segments"]:
        parts = {"segments": content["segment_tokens"]}
        if "fillers" in content:
            parts["fillers"] = content["fillers"]
        histogram(folder / "segment_tokens.png", "Tokens of a segment", "tokens", parts)
    for part in ("question", "answer"):
        parts = {
            key.removesuffix(f" {part}").replace("_", " "): counted
            for key, counted in content["words"].items()
            if key.endswith(f" {part}")
        }
        if parts:
            histogram(folder / f"{part}_words.png", f"Words of a {part}", "words", parts)
