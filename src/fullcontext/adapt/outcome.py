"""What adapt.py leaves of all documents: answers.jsonl, results.json, gates.svg, a table."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fullcontext import stage
from fullcontext.adapt import accounts
from fullcontext.adapt.documents import Question
from fullcontext.compose import RunInfo
from fullcontext.config import AdaptConfig, EndpointConfig, LocalConfig
from fullcontext.launch import StopFlag
from fullcontext.store import locked, read_lines, write_aside
from fullcontext.track import Tracker

SHOWN = ("exact", "sub_em", "f1", "rouge_l_recall", "meteor", "bertscore_recall", "judge")
"""Scores of the printed table; results.json has all."""

Record = dict[str, Any]
_WAIT_S = 3600.0
"""The parts of an array score one after another, all but the first in vain."""

MOST_SHOWN = 400
"""Characters of an answer that are printed; answers.jsonl has all."""


def write(
    folder: Path,
    config: AdaptConfig,
    info: RunInfo,
    places: Sequence[Path],
    answered: Sequence[Path] | None,
    counted: dict[str, int],
) -> None:
    """Writes what the documents came to whose adapters are in `places` and answers in `answered`,
    or says that other parts are still at work."""
    if answered is None:
        sys.stdout.write(f"{folder}: this part is done, others are not; the last one sums up\n")
        return
    adapters = [content for place in places if (content := stage.read(place))]
    contents = [content for place in answered if (content := stage.read(place))]
    records = _records(answered)
    reasons = _judge(config, records)
    cut = _paraphrased(config, folder, records)
    rows = accounts.means(records)
    costs = [content["costs"] for content in contents]
    found = {
        "documents": len(places),
        "scores": rows,
        "drop_on_others": accounts.drop(rows, "exact"),
        "costs": accounts.merged(costs) if costs else None,
        "counted": accounts.counted(
            [counted, reasons, cut, *(each["counted"] for each in adapters)]
        ),
        "expected": dict(config.expected),
    }
    write_aside(folder / "answers.jsonl", "".join(json.dumps(r) + "\n" for r in records))
    write_aside(folder / "results.json", json.dumps(found, indent=1) + "\n")
    _gates(folder, places)
    _note(folder, config, info, found)
    show(found, records, folder)


def _judge(config: AdaptConfig, records: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Adds the judge's verdict to the scores, where there is a judge; why some have none."""
    if not isinstance(config.judge, EndpointConfig | LocalConfig):
        return {}
    from fullcontext.adapt.judging import judged

    found = judged(config.judge, _asked(records), Path(config.answers), config.part, config.parts)
    for record, verdict in zip(records, found.verdicts, strict=True):
        record["scores"]["judge"] = verdict
    return {f"judge: {reason}": number for reason, number in found.counted.items()}


def score_paraphrases(
    config: AdaptConfig, answered: Sequence[Path], folder: Path, stop: StopFlag
) -> None:
    """Scores by METEOR and BERTScore, as far as they are wanted, for `write` to find."""
    wanted = config.paraphrase
    if not (wanted.meteor or wanted.bertscore):
        return
    from fullcontext.adapt import paraphrase

    with locked(folder / ".paraphrase", "scoring the answers of", wait_s=_WAIT_S):
        paraphrase.score(wanted, _asked(_records(answered)), folder, stop)


def _paraphrased(config: AdaptConfig, folder: Path, records: Sequence[Record]) -> dict[str, int]:
    """Adds those scores; how many texts were cut for them."""
    wanted = config.paraphrase
    if not (wanted.meteor or wanted.bertscore):
        return {}
    from fullcontext.adapt import paraphrase

    found, cut = paraphrase.scored(wanted, _asked(records), folder)
    for record, scores in zip(records, found, strict=True):
        record["scores"] |= scores
    return cut


def _records(answered: Sequence[Path]) -> list[Record]:
    return [line for place in answered for line in read_lines(place / "answers.jsonl")]


def _asked(records: Sequence[Record]) -> list[tuple[Question, str]]:
    return [
        (Question(r["question"], r["text"], tuple(r["gold"]), r["kind"]), r["answer"])
        for r in records
    ]


def _note(folder: Path, config: AdaptConfig, info: RunInfo, found: dict[str, Any]) -> None:
    """One record, for metrics.jsonl and whatever mirrors it."""
    made = Tracker(folder, config, info, name=config.name, verb="adapt")
    made.log(1, scalars(found))
    made.finish()


def scalars(found: dict[str, Any]) -> dict[str, float]:
    """Scores by mode, kind and name, and costs, as a tracker takes them."""
    values: dict[str, float] = {}
    for row in found["scores"]:
        model = "adapted" if row["adapted"] else "unadapted"
        for name, score in row["scores"].items():
            if score["mean"] is None:
                continue
            values[f"adapt/{row['mode']}/{model}/{row['kind']}/{name}"] = score["mean"]
    for name, value in (found["costs"] or {}).items():
        if value is not None:
            values[f"adapt/{name}"] = value
    return values


def _gates(folder: Path, places: Sequence[Path]) -> None:
    """A curve of the mean gate for each layer, over the steps; documents averaged."""
    curves = [list(read_lines(place / "lessons.jsonl")) for place in places]
    curves = [curve for curve in curves if curve and curve[0].get("gates")]
    if not curves:
        return
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    steps = min(map(len, curves))
    layers = len(curves[0][0]["gates"])
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    colours = plt.get_cmap("viridis")
    for layer in range(layers):
        values = [
            sum(c[step]["gates"][layer] for c in curves) / len(curves) for step in range(steps)
        ]
        shade = colours(layer / max(1, layers - 1) * 0.9)
        label = f"layer {layer + 1}" if layers <= 4 or layer in (0, layers - 1) else None
        axes.plot(range(1, steps + 1), values, color=shade, label=label, linewidth=1.5)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("mean gate")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(folder / "gates.svg")
    plt.close(figure)


def show(found: dict[str, Any], records: Sequence[dict[str, Any]], folder: Path) -> None:
    """Prints answers if they are few, then scores and costs."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # A log has no edge: rich would take one of 80 columns.
    width = None if sys.stdout.isatty() else 120
    console = Console(file=sys.stdout, highlight=False, width=width)
    for record in records if len(records) <= 8 else []:
        model = "adapted" if record["adapted"] else "as it is"
        console.print(f"[b]{record['mode']}, {model}[/b]: ", end="")
        answer = record["answer"]
        console.print(answer[:MOST_SHOWN] + " ..." * (len(answer) > MOST_SHOWN), markup=False)
    names = [n for n in SHOWN if any(n in row["scores"] for row in found["scores"])]
    if names:
        table = Table(title=escape(str(folder)), box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("mode", "adapter"):
            table.add_column(column, no_wrap=True)
        table.add_column("kind", overflow="fold")
        for column in ("questions", *names):
            lines = [part for part in column.rpartition("_") if part.strip("_")]
            table.add_column("\n".join(lines), justify="right", no_wrap=True)
        for row in found["scores"]:
            shown = (row["scores"].get(name, {}).get("mean") for name in names)
            cells = ("" if mean is None else f"{mean:.3f}" for mean in shown)
            adapter = "with" if row["adapted"] else "without"
            table.add_row(
                row["mode"], adapter, escape(row["kind"]), f"{row['questions']:,}", *cells
            )
        console.print(table)
    for line in costs(found):
        console.print(line)
    for reason, count in found["counted"].items():
        console.print(f"{reason}: {count:,}", markup=False)


def costs(found: dict[str, Any]) -> list[str]:
    """What it took, a sentence each."""
    total, said = found["costs"], []
    if total is None:
        return [f"{found['documents']:,} documents adapted to, no question asked"]
    trained, asked = (
        total[key] / total["documents"] for key in ("training_cpu_s", "questions_cpu_s")
    )
    writing = f", {asked:.1f} to write its questions" if asked >= 0.05 else ""
    said.append(
        f"adapting: {trained:.1f} CPU-seconds a document{writing},"
        f" {total['trained_weights']:,} weights trained"
    )
    if "crossover_alone" in total:
        for name, what in (
            ("alone", "the document is read for every question"),
            ("cached", "its keys and values are kept"),
        ):
            number = total[f"crossover_{name}"]
            when = (
                "never pays" if number is None else f"pays from {math.ceil(number):,} questions on"
            )
            said.append(f"against answering in context where {what}: {when}")
        closed, context = (total[f"answer_tokens_{name}"] for name in ("closed", "context"))
        if closed is not None and context is not None:
            said.append(
                f"an answer had {closed:.1f} tokens closed-book and {context:.1f} in context, and"
                " costs by its length"
            )
    if found["drop_on_others"] is not None:
        said.append(f"other documents: exact match falls by {found['drop_on_others']:+.3f}")
    if total["left_out"]:
        said.append(f"tokens left out of documents in context: {total['left_out']:,}")
    for name, value in found["expected"].items():
        got = _obtained(found, name)
        shown = "not measured" if got is None else f"{100 * got:.1f}"
        said.append(f"published {name}: {value:.1f}, obtained {shown}")
    return said


def _obtained(found: dict[str, Any], name: str) -> float | None:
    """The figure that `adapt/MODE/KIND/SCORE` names, with the adapter."""
    _, mode, kind, score = name.split("/")
    for row in found["scores"]:
        if row["adapted"] and row["mode"] == mode and row["kind"] == kind:
            mean: float | None = row["scores"].get(score, {}).get("mean")
            return mean
    return None
