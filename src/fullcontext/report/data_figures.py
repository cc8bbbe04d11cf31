"""Requested against realised data: lengths, depths and answers, for the page and the run folder."""

from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.report.drawing import INK, Drawing, Panel, colour, draw
from fullcontext.report.figures import DEPTH
from fullcontext.report.statistics import Floats

_KINDS = {
    "length": ("Context length", "tokens", "contexts"),
    "depth": ("Depth of the evidence", DEPTH, "questions"),
    "answer_length": ("Answer length", "tokens", "answers"),
}
"""Key of data.json -> title, label of the x axis, what is counted."""
_LINES = {
    "length": ", line requested",
    "depth": ", line if each rank in these contexts were as likely",
    "answer_length": ", line a sample of all there are",
}


def write(report: dict[str, Any], folder: Path) -> None:
    """data_length.png, data_depth.png and data_answer_length.png, as far as there is anything."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in _KINDS:
        given = report.get(kind)
        if isinstance(given, dict):
            realised(given, kind, f"data_{kind}", folder)


def realised(given: dict[str, Any], kind: str, key: str, folder: Path) -> Drawing | None:
    """A histogram of what the data became against what was requested; None if it is unusable.

    `given` is "length", "depth" or "answer_length" of data.json: edges (bins + 1), and counts of
    both kinds. Without a request (a curriculum, a fixed length) the bars stand alone.
    """
    edges, became = _numbers(given.get("edges")), _numbers(given.get("realised"))
    if edges is None or became is None or became.sum() <= 0 or len(edges) - 1 != len(became):
        return None
    asked = _numbers(given.get("requested", given.get("expected")))
    if asked is not None and (len(asked) != len(became) or asked.sum() <= 0):
        asked = None
    shares = 100 * became / became.sum()
    wanted = None if asked is None else 100 * asked / asked.sum()
    title, label, counted = _KINDS[kind]
    panel = Panel(
        key=key,
        title=f"{title}: requested and realised" if asked is not None else f"{title}: realised",
        note=f"{int(became.sum()):,} {counted}; bars realised"
        + ("" if wanted is None else _LINES[kind]),
        alt=f"{title}, share of the {counted} by bin. Realised: {_listed(shares)} percent."
        + ("" if wanted is None else f" Requested: {_listed(wanted)} percent."),
    )
    # Bins of answers grow with the length: each gets the same width, named by its lower edge.
    even = kind == "answer_length"
    places = np.arange(len(edges), dtype=float) if even else edges

    def paint(axes: Any) -> None:
        bars = {"width": 0.92 * np.diff(places), "align": "center", "label": "realised"}
        axes.bar((places[:-1] + places[1:]) / 2, shares, color=colour(0), alpha=0.55, **bars)
        if wanted is not None:
            axes.stairs(wanted, places, color=INK, linewidth=1.4, label="requested", baseline=None)
        axes.set_ylabel(f"share of {counted}, %")
        axes.set_xlabel(label)
        highest = shares.max() if wanted is None else max(shares.max(), wanted.max())
        axes.set_ylim(0, 1.15 * highest)
        if even:
            axes.set_xticks(places[:-1:2], [f"{edge:g}" for edge in edges[:-1:2]])

    return draw(panel, folder, paint)


def _listed(values: Floats) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


def _numbers(values: Any) -> Floats | None:
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.ndim == 1 and len(found) and np.isfinite(found).all() else None
