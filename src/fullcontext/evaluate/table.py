"""The table that evaluate.py prints: scores, and what changed against the reference."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from fullcontext.evaluate.deltas import Delta
from fullcontext.evaluate.outcome import Outcome, Score


def show(title: str, outcomes: Sequence[Outcome], deltas: Sequence[Delta], folder: str) -> None:
    """Prints the shown scores and the deltas; everything else is in results.json."""
    console = Console()
    console.print(_scores(title, outcomes))
    if deltas:
        console.print(_deltas(deltas))
    console.print(f"All scores are in {folder}/results.json.", soft_wrap=True, highlight=False)


def _scores(title: str, outcomes: Sequence[Outcome]) -> Table:
    table = Table(title=title)
    for column in ("task", "metric", "score", "±", "documents", "cut"):
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    shown = [(outcome, score) for outcome in outcomes for score in outcome.scores if score.shown]
    for outcome, score in shown:
        error = "" if score.stderr is None else f"{score.stderr:.4f}"
        tasks = outcome.tasks if score.task == outcome.name else [score.task]
        cut = sum(outcome.cut.get(task, 0) for task in tasks)
        row = (score.task, score.metric, f"{score.value:.4f}", error, str(score.documents))
        table.add_row(*row, str(cut) if cut else "")
    for metric, value, number in averages([score for _, score in shown]):
        table.add_row("average", metric, f"{value:.4f}", "", f"{number} tasks", "")
    return table


def averages(shown: Sequence[Score]) -> list[tuple[str, float, int]]:
    """Metric, mean over tasks, and number of tasks, of each metric that two or more tasks show.

    Of RULER that is a row for each length.
    """
    found = []
    for metric in dict.fromkeys(score.metric for score in shown):
        values = [score.value for score in shown if score.metric == metric]
        if len(values) > 1:
            found.append((metric, sum(values) / len(values), len(values)))
    return found


def _deltas(deltas: Sequence[Delta]) -> Table:
    table = Table(title="against the reference")
    for column in ("task", "metric", "reference", "delta", "95 %", "p (Holm)", "pairs", "note"):
        left = column in ("task", "metric", "note")
        table.add_column(column, justify="left" if left else "right")
    for d in deltas:
        ends = "" if d.low is None else f"{d.low:+.4f} to {d.high:+.4f}"
        p = "" if d.holm is None else f"{d.holm:.3g}"
        row = (d.task, d.metric, f"{d.reference:.4f}", f"{d.delta:+.4f}", ends, p)
        table.add_row(*row, str(d.documents), d.note)
    return table
