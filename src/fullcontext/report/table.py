"""Labels, differing config keys, and the summary table in Markdown."""

import json
import math
from collections import Counter
from html import escape
from typing import Any

from fullcontext.report.curves import Outcome
from fullcontext.report.runs import Run
from fullcontext.report.statistics import Interval

LABEL_LENGTH = 36
CELL_LENGTH = 40
NOTHING = "–"
NOT_COMPARED = ("name", "claim", "resume", "run", "runs", "output", "title")
"""Keys that name a run instead of deciding what it does."""


def labels(runs: list[Run]) -> list[str]:
    """One short and unique label a run: its name, with a number where a name repeats."""
    short = [shorten(run.name, LABEL_LENGTH) for run in runs]
    repeated = {name for name, times in Counter(short).items() if times > 1}
    seen: Counter[str] = Counter()
    found = []
    for name in short:
        seen[name] += 1
        found.append(f"{name} #{seen[name]}" if name in repeated else name)
    return found


def shorten(text: str, length: int) -> str:
    """At most `length` characters in one line, cut in the middle: both ends of a name tell."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    head = (length - 1) // 2
    return f"{line[:head]}…{line[len(line) - (length - 1 - head) :]}"


def flatten(tree: Any, prefix: str = "") -> dict[str, str]:
    """A config as dotted keys and the values as they are written in YAML."""
    if isinstance(tree, dict) and tree:
        return {
            path: value
            for key, branch in tree.items()
            for path, value in flatten(branch, f"{prefix}.{key}".lstrip(".")).items()
        }
    if isinstance(tree, float):
        return {prefix: f"{tree:.12g}"}
    return {prefix: tree if isinstance(tree, str) else json.dumps(tree, default=str)}


def differing(runs: list[Run]) -> dict[str, list[str]]:
    """Config keys whose values differ, each with one value a run (NOTHING where it has none).

    A run that lacks the whole section (a probe has no schedule) does not make its keys differ.
    """
    flat = [flatten(run.config) if run.config else {} for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    found = {}
    for key in keys:
        section = key.split(".")[0]
        if section in NOT_COMPARED:
            continue
        values = {
            config.get(key, NOTHING)
            for run, config in zip(runs, flat, strict=True)
            if section in run.config
        }
        if len(values) > 1:
            found[key] = [config.get(key, NOTHING) for config in flat]
    return found


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, thousands separated; NOTHING for None and nan."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0 or abs(value) >= 10**digits or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) < 1e-3 else f"{float(f'{value:.{digits}g}'):g}"


def points(value: float) -> str:
    """A score of 0-1 in points of 100, the unit of published tables."""
    if not math.isfinite(value):
        return NOTHING
    return f"{round(100 * value, 1) + 0.0:.1f}"  # + 0.0 turns -0.0 into 0.0


def interval(given: Interval) -> str:
    """The 95 % interval in points, or nothing where there is none."""
    if not (math.isfinite(given.low) and math.isfinite(given.high)):
        return "no interval"
    return f"[{points(given.low)}, {points(given.high)}]"


def listed(words: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def few(names: list[str], most: int = 3) -> str:
    """The first names and how many more there are."""
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return listed([*names[:most], *more])


def tasks_of(outcomes: list[Outcome]) -> list[str]:
    """The tasks in their order on the page."""
    return list(dict.fromkeys(outcome.task for outcome in outcomes))


def last_outcomes(outcomes: list[Outcome], run: int) -> dict[str, Outcome]:
    """Task -> what a run showed when it was last probed."""
    return {each.task: each for each in outcomes if each.run == run and not each.before}


def markdown(runs: list[Run], names: list[str], outcomes: list[Outcome], title: str) -> str:
    """The summary as a Markdown table, one row a run; scores in points of 100."""
    tasks = tasks_of(outcomes)
    keys = differing(runs)
    header = ["run", "state", *keys, "final train loss"]
    header += [f"{task} {what}" for task in tasks for what in ("avg", "litm", "gap (flat), n")]
    rows = []
    for index, (run, name) in enumerate(zip(runs, names, strict=True)):
        settings = [shorten(values[index], CELL_LENGTH) for values in keys.values()]
        found = last_outcomes(outcomes, index)
        scores = [cell for task in tasks for cell in _scores(found.get(task))]
        rows.append([name, run.status.state, *settings, number(run.last("loss"), 4), *scores])
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    note = (
        "Scores in points of 100 at the last probed step, [95 % interval by context]."
        " litm: mean of both ends minus mean of the middle. gap: best minus worst depth bin,"
        " in brackets the gap of a flat curve of the same size."
    )
    return "\n".join([f"# {' '.join(title.split())}", "", *lines, "", note, ""])


def _scores(outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return [NOTHING] * 3
    cells = [
        f"{points(each.value)} {interval(each)}"
        for each in (outcome.score.contrasts["avg"], outcome.score.contrasts["litm"])
    ]
    flat = f"{points(outcome.flat.gap)} ({points(outcome.flat.expected)})"
    return [*cells, f"{flat}, n={outcome.score.items}"]


def _line(cells: list[str]) -> str:
    escaped = (
        " ".join(escape(cell, quote=False).replace("\\", "\\\\").replace("|", "\\|").split())
        for cell in cells
    )
    return f"| {' | '.join(escaped)} |"
