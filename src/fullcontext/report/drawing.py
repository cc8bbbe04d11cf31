"""One panel -> a PNG in light colours and an SVG whose colours are CSS variables of the page.

matplotlib draws with the light colours; in the SVG each of them becomes `var(--name)`, so that one
drawing serves light and dark. No pyplot: nothing global, the Agg and SVG back ends write directly.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

LIGHT = ("#3050d0", "#cf7a06", "#06a077", "#8a3f8f", "#a67537", "#7792cc", "#30106c", "#7b3b1f")
"""Colours of runs. Under normal sight, protanopia, deuteranopia and tritanopia (Machado 2009) any
two differ by at least 19 in CIELAB, and each has a contrast of 3 against the page."""
DARK = ("#3f86e0", "#ff9a4d", "#6ae8a8", "#e39ac8", "#f0ea7a", "#bcc8ff", "#9257f5", "#b8645a")
"""The same on the dark page; any two differ by at least 15."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

INK, MUTED, GRID = "#1e222b", "#666d7d", "#e3e5ea"
_VARIABLES = {colour: f"var(--run-{index})" for index, colour in enumerate(LIGHT)} | {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fullcontext",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.edgecolor": GRID,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 16.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 1.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as it goes into the page."""

    key: str
    title: str
    alt: str
    svg: Markup


def colour(run: int) -> str:
    """The light colour of a run; runs 8 apart share it and differ in their marker."""
    return LIGHT[run % len(LIGHT)]


def marker(run: int) -> str:
    """The marker of a run: with the colour unique up to 64 runs."""
    return MARKERS[(run + run // len(MARKERS)) % len(MARKERS)]


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel is called and how large it is."""

    key: str
    """Name of the PNG and prefix of the ids in the SVG."""
    title: str
    note: str
    """Small print under the title: how many items, which interval."""
    alt: str
    size: tuple[float, float] = (4.7, 3.1)
    """Inches."""


def draw(panel: Panel, folder: Path | None, paint: Callable[[Any], None]) -> Drawing:
    """Calls `paint(axes)` and returns the panel; with a folder it is written there as PNG, too.

    The legend is in the PNG alone: the page has one for all its panels.
    """
    with mpl.rc_context(_STYLE):
        width, height = panel.size
        figure = Figure(figsize=panel.size)
        axes = figure.subplots()
        margins = {"left": 0.62, "bottom": 0.5, "top": 0.44} if panel.title else _BARE
        figure.subplots_adjust(
            left=margins["left"] / width,
            right=1 - 0.1 / width,
            bottom=margins["bottom"] / height,
            top=1 - margins["top"] / height,
        )
        axes.set_title(panel.title, fontweight="bold", color=INK)
        axes.text(
            0, 1.03, panel.note, transform=axes.transAxes, fontsize=7.5, color=MUTED, va="bottom"
        )
        paint(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
        if folder is not None:
            _write_png(figure, axes, panel, folder / f"{panel.key}.png")
    return Drawing(panel.key, panel.title, panel.alt, _inline(text.getvalue(), panel))


_BARE = {"left": 0.4, "bottom": 0.28, "top": 0.24}
"""Margins in inches of a panel whose title and axis label stand beside it."""
_COLUMN = 14
"""Most entries of a column of a legend."""
_LEGEND = 4 * _COLUMN
"""Most entries of a legend in a PNG."""
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def _write_png(figure: Any, axes: Any, panel: Panel, path: Path) -> None:
    """The panel and, to its right, a legend. Its width is guessed: measuring draws it once more."""
    names = axes.get_legend_handles_labels()[1]
    if 0 < len(names) <= _LEGEND:
        width, height = panel.size
        columns = 1 + (len(names) - 1) // _COLUMN
        wider = width + 0.1 + columns * (0.5 + 0.075 * max(map(len, names)))
        place = figure.subplotpars
        figure.set_size_inches(wider, height)
        figure.subplots_adjust(left=place.left * width / wider, right=place.right * width / wider)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0, ncols=columns)
    figure.savefig(path, format="png", dpi=160, metadata={"Software": None})


def _inline(svg: str, panel: Panel) -> Markup:
    """An SVG document -> an element for the page: own ids, CSS colours, no name spaces."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]*)"', body)
    assert box is not None, "matplotlib writes a viewBox"
    body = re.sub(r'id="run-(\d+)[^"]*"', r'class="run r\1"', body)
    body = re.sub(r'\bid="', f'id="{panel.key}-', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{panel.key}-", body).replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for light, variable in _VARIABLES.items():
        body = body.replace(light, variable)
    inner = body[body.index(">") + 1 :]
    head = f'<svg class="plot" role="img" viewBox="{box[1]}" aria-label="{escape(panel.alt)}">'
    return Markup(head + re.sub(r"\s*\n\s*", "\n", inner))
