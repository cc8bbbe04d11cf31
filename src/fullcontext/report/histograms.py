"""Histograms of what a store holds, several on one panel as steps."""

from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.report.drawing import Panel, colour, draw


def histogram(path: Path, title: str, unit: str, parts: dict[str, dict[str, Any]]) -> None:
    """Draws `parts` (name -> count, mean, edges and counts) as shares per bin of one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = ", ".join(f"{name} {part['count']:,}" for name, part in parts.items())
    panel = Panel(key=path.stem, title=title, note=sizes, alt=f"{title}: {sizes}")

    def paint(axes: Any) -> None:
        for index, (name, part) in enumerate(parts.items()):
            share = 100 * np.array(part["counts"]) / max(1, part["count"])
            label = f"{name}, mean {part['mean']:,}"
            axes.stairs(share, part["edges"], color=colour(index), linewidth=1.6, label=label)
            axes.stairs(share, part["edges"], color=colour(index), alpha=0.12, fill=True)
        axes.set_xlabel(f"{unit} (the last bin holds all longer ones)")
        axes.set_ylabel("share, %")
        axes.set_ylim(bottom=0)

    draw(panel, path.parent, paint)
