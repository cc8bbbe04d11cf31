"""The findings -> one self-contained page."""

import re
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fullcontext.report import (
    accounts,
    data_figures,
    expected,
    factors,
    figures,
    heat,
    lengths,
    panels,
    planned,
    rounds,
    sections,
    training,
)
from fullcontext.report.curves import Subject
from fullcontext.report.drawing import DARK, LIGHT, MARKERS, marker
from fullcontext.report.findings import Findings
from fullcontext.report.wording import points

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


def render(findings: Findings, title: str, how: str, folder: Path) -> str:
    """The page as HTML; figures are written to `folder` as PNG on the way.

    `how` says with which seed and how many permutations the statistics were made.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("fullcontext.report").joinpath("page.html.j2")
    template = environment.from_string(source.read_text(encoding="utf-8"))
    shown = figures.drawn(findings)
    history = training.History(findings, shown)
    named = list(zip(findings.runs, findings.names, strict=True))
    page = template.render(
        title=title,
        how=how,
        lead=sections.lead(findings),
        troubles=sections.troubles(findings),
        warnings=[warning for run in findings.runs for warning in run.warnings],
        bare=[name for run, name in named if run.is_offline],
        number=len(findings.runs),
        marks=[_mark(each.index) for each in findings.groups],
        legend=[
            {"index": at, "label": findings.groups[at].label, "swatch": _swatch(at)} for at in shown
        ],
        hidden=len(findings.groups) - len(shown),
        summary=sections.summary(findings),
        effects=sections.effects(findings),
        factors=_factors(findings, folder),
        logged=sections.logged(findings),
        claims=sections.claims(findings),
        expected=[
            {
                "index": each.group.index,
                "label": each.group.label,
                "metric": each.metric,
                "expected": points(each.expected),
                "obtained": expected.obtained(each),
                "difference": expected.difference(each),
            }
            for each in expected.figures(findings)
        ],
        rounds=rounds.table(findings),
        tasks=[_task(findings, task, shown, folder) for task in findings.tasks],
        scale=heat.scale(),
        training={axis: training.figures(history, axis, folder) for axis in training.AXES},
        axes={"step": "optimizer steps", "tokens": "tokens", "seconds": "wall time"},
        data=_data(findings, folder),
        more_data=accounts.SHOWN_DATA,
        cost=accounts.cost(findings),
        planned=planned.against_measured(findings),
        quantities=planned.QUANTITIES,
        folders=[(name, str(run.folder)) for run, name in named],
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


def _task(findings: Findings, task: str, shown: list[int], folder: Path) -> dict[str, Any]:
    subjects = [each for each in findings.subjects if each.task == task]
    outcomes = [each for subject in subjects for each in findings.of(subject)]
    return {
        "name": task,
        "subjects": [_subject(findings, each, shown, folder) for each in subjects],
        "lengths": lengths.figures(findings, task, shown, folder),
        "heat": heat.depth_by_length(findings, task, shown),
        "spread": [
            {"title": each.title, "maps": maps}
            for each in subjects
            if (maps := heat.place_by_distance(findings.of(each), shown))
        ],
        "steps": any(each.before for each in outcomes),
    }


def _subject(
    findings: Findings, subject: Subject, shown: list[int], folder: Path
) -> dict[str, Any]:
    outcomes = findings.of(subject)
    drawn = [each for each in outcomes if each.index in shown]
    return {
        "title": subject.title,
        "score": figures.score_by_depth(drawn, folder),
        "logp": figures.logp_by_depth(drawn, folder),
        "small": [
            {"index": each.index, "label": each.label, "svg": svg}
            for each, svg in panels.small(drawn)
        ],
        "statistics": sections.statistics(outcomes),
        "strict": any(each.strict is not None for each in outcomes),
        "curves": sections.curves(outcomes),
        "cautions": sections.cautions(outcomes),
        "context_tokens": f"{max(each.context_tokens for each in outcomes):,}",
    }


def _factors(findings: Findings, folder: Path) -> list[dict[str, Any]]:
    found = []
    for factor in factors.find(findings):
        drawn = [
            drawing
            for subject in findings.subjects
            for drawing in factors.figures(findings, factor, subject, folder)
        ]
        if drawn:
            others = ", ".join(f"{key} = {value}" for key, value in factor.others.items())
            found.append({"key": factor.key, "others": others, "drawings": drawn})
    return found


def _data(findings: Findings, folder: Path) -> list[dict[str, Any]]:
    groups = accounts.data_groups(findings)
    for index, group in enumerate(groups[: accounts.SHOWN_DATA]):
        group["figures"] = []
        for kind, law in (("length", "law"), ("depth", "placement"), ("answer_length", "")):
            given = accounts.mapping(group["data"], kind)
            drawing = data_figures.realised(given, kind, f"data_{kind}_{index}", folder)
            if drawing is not None:
                caption = accounts.fits(given, law) if law else accounts.ANSWERS
                group["figures"].append({"drawing": drawing, "caption": caption})
    return groups
