"""Runs and their outcomes -> one self-contained page."""

import re
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fullcontext.report import accounts, data_figures, figures, sections, table
from fullcontext.report.curves import Outcome
from fullcontext.report.drawing import DARK, LIGHT, MARKERS, Drawing, marker
from fullcontext.report.runs import Run

_SHAPES = {
    "o": '<circle cx="14" cy="6" r="4"/>',
    "s": '<rect x="10.5" y="2.5" width="7" height="7"/>',
    "^": '<path d="M14 1.5 18.5 9.5h-9z"/>',
    "D": '<path d="M14 1 19 6 14 11 9 6z"/>',
    "v": '<path d="M14 10.5 9.5 2.5h9z"/>',
    "P": '<path d="M12.5 2h3v2.5H18v3h-2.5V10h-3V7.5H10v-3h2.5z"/>',
    "X": '<path d="M11.5 1.5 14 4l2.5-2.5 2 2L16 6l2.5 2.5-2 2L14 8l-2.5 2.5-2-2L12 6 9.5 3.5z"/>',
    "h": '<path d="M14 1.5l4 2.25v4.5l-4 2.25-4-2.25v-4.5z"/>',
}


def render(
    runs: list[Run],
    labels: list[str],
    outcomes: list[Outcome],
    title: str,
    how: str,
    folder: Path,
) -> str:
    """The page as HTML; figures are written to `folder` as PNG on the way.

    `how` says with which seed and how many resamples the statistics were made.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("fullcontext.report").joinpath("page.html.j2")
    template = environment.from_string(source.read_text(encoding="utf-8"))
    tasks = table.tasks_of(outcomes)
    page = template.render(
        title=title,
        how=how,
        lead=sections.lead(runs, outcomes),
        troubles=sections.troubles(runs, labels),
        warnings=[warning for run in runs for warning in run.warnings],
        marks=[_mark(i) for i in range(len(runs))],
        legend=[{"run": i, "label": label, "swatch": _swatch(i)} for i, label in enumerate(labels)],
        summary=sections.summary(runs, labels, outcomes),
        claims=sections.claims(runs, labels, outcomes),
        tasks=[_task([each for each in outcomes if each.task == task], folder) for task in tasks],
        training={axis: _training(runs, labels, axis, folder) for axis in ("step", "tokens")},
        data=_data(runs, labels, folder),
        cost=accounts.cost(runs, labels),
        folders=[(label, str(run.folder)) for run, label in zip(runs, labels, strict=True)],
        light=LIGHT,
        dark=DARK,
    )
    return re.sub(r"\n\s*\n+", "\n", page)


def _swatch(run: int) -> Markup:
    shape = _SHAPES[marker(run)]
    paint = f"var(--run-{run % len(MARKERS)})"
    return Markup(
        f'<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true" fill="{paint}">'
        f'<path d="M1 6h26" stroke="{paint}" stroke-width="2"/>{shape}</svg>'
    )


def _mark(run: int) -> Markup:
    paint = f"var(--run-{run % len(MARKERS)})"
    shape = _SHAPES[marker(run)]
    return Markup(
        f'<svg class="mark" viewBox="8 0 12 12" aria-hidden="true" fill="{paint}">{shape}</svg>'
    )


def _task(outcomes: list[Outcome], folder: Path) -> dict[str, Any]:
    score, logp = figures.score_by_depth(outcomes, folder), figures.logp_by_depth(outcomes, folder)
    return {
        "name": outcomes[0].task,
        "score": score,
        "logp": logp,
        "small": [
            {"run": each.run, "label": each.label, "drawing": drawing}
            for each, drawing in figures.small_multiples(outcomes)
        ],
        "statistics": sections.statistics(outcomes),
        "curves": sections.curves(outcomes),
        "cautions": sections.cautions(outcomes),
        "context_tokens": f"{max(each.context_tokens for each in outcomes):,}",
        "steps": any(each.before for each in outcomes),
    }


def _training(runs: list[Run], labels: list[str], axis: str, folder: Path) -> list[Drawing]:
    """Loss, learning rate, gradient norm, then the loss of each kind and the probed averages."""
    logged = sorted({key for run in runs for line in run.metrics for key in line})
    keys = [*figures.METRICS, *(key for key in logged if key.startswith("loss/"))]
    keys += [
        key
        for key in logged
        if key.startswith("probe/")
        and key.endswith("/avg")
        and max(len(run.series(key)) for run in runs) > 2
    ]
    drawn = [figures.training(runs, labels, key, axis, folder) for key in keys]
    return [drawing for drawing in drawn if drawing is not None]


def _data(runs: list[Run], labels: list[str], folder: Path) -> list[dict[str, Any]]:
    groups = accounts.data_groups(runs, labels)
    for index, group in enumerate(groups):
        group["figures"] = []
        for kind, law in (("length", "law"), ("depth", "placement"), ("answer_length", "")):
            given = accounts.mapping(group["data"], kind)
            drawing = data_figures.realised(given, kind, f"data_{kind}_{index}", folder)
            if drawing is not None:
                caption = accounts.fits(given, law) if law else accounts.ANSWERS
                group["figures"].append({"drawing": drawing, "caption": caption})
    return groups
