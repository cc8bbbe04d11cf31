"""The findings as tables of text: Markdown and LaTeX."""

from dataclasses import dataclass
from html import escape

from fullcontext.report import expected as published
from fullcontext.report.curves import Outcome, Subject
from fullcontext.report.effects import COMPARED, Effect
from fullcontext.report.findings import Findings
from fullcontext.report.groups import Group
from fullcontext.report.wording import (
    CELL_LENGTH,
    NOTHING,
    interval,
    number,
    p_value,
    plus_minus,
    points,
    shorten,
    signed,
)

NOTE = (
    "Scores in points of 100 at the last probed step, [95 % interval by context], ± the standard"
    " deviation over seeds. litm: mean of both ends minus mean of the middle. gap: best minus worst"
    " depth bin, in brackets the gap of a flat curve of the same size."
)
COLUMNS = 9
"""Columns of a table that LaTeX puts on one page without making it too small to read."""


@dataclass(frozen=True, slots=True)
class Table:
    """A header of (group of columns, column) and rows of cells."""

    title: str
    header: list[tuple[str, str]]
    rows: list[list[str]]


def state(findings: Findings, group: Group) -> str:
    """ "finished", or how many runs of a group are in which other state."""
    states = [run.status.state for run in findings.members(group)]
    if len(set(states)) == 1:
        return states[0]
    others = [each for each in dict.fromkeys(states) if each != "finished"]
    return ", ".join(f"{states.count(each)} of {len(states)} {each}" for each in others)


def loss(findings: Findings, group: Group) -> str:
    """The mean of the last training losses of a group and their spread."""
    mean, spread, _ = findings.final(group, "loss")
    return number(mean, 4) + plus_minus(spread, 2)


def summary(findings: Findings) -> Table:
    """One row a group."""
    subjects = findings.subjects
    strict = {each: has_strict(findings, each) for each in subjects}
    header = [("", name) for name in ("run", "state", "runs", *findings.keys, "final train loss")]
    for each in subjects:
        names = ("avg", *(["strict"] if strict[each] else []), "litm", "gap (flat), n")
        header += [(each.title, name) for name in names]
    rows = []
    for group in findings.groups:
        settings = [shorten(value, CELL_LENGTH) for value in group.settings.values()]
        last = findings.last(group)
        cells = [cell for each in subjects for cell in _scores(last.get(each), strict[each])]
        start = [group.label, state(findings, group), str(len(group.runs)), *settings]
        rows.append([*start, loss(findings, group), *cells])
    return Table("Summary", header, rows)


def has_strict(findings: Findings, subject: Subject) -> bool:
    """Whether any group has strict scores."""
    return any(each.strict is not None for each in findings.of(subject))


def effects(findings: Findings) -> Table | None:
    """One row a group, its differences from the baseline; None without any."""
    subjects = list(dict.fromkeys(each.subject for each in findings.effects))
    if not subjects:
        return None
    columns = [(each.title, text) for each in subjects for key in COMPARED for text in (key, "p")]
    rows = []
    for group in findings.groups:
        found = {each.subject: each for each in findings.effects if each.group is group}
        if found:
            cells = [cell for each in subjects for cell in _effect(found.get(each))]
            rows.append([group.label, *cells])
    title = f"Minus the baseline, {findings.baseline.label}; p after Holm"
    return Table(title, [("", "run"), *columns], rows)


def expected(findings: Findings) -> Table | None:
    """Expected against obtained, a row for each published figure; None without any."""
    rows = [
        [
            each.group.label,
            each.metric,
            points(each.expected),
            published.obtained(each),
            published.difference(each),
        ]
        for each in published.figures(findings)
    ]
    header = ("run", "metric", "expected", "obtained", "obtained minus expected")
    return Table("Expected and obtained", [("", name) for name in header], rows) if rows else None


def _tables(findings: Findings) -> list[Table]:
    return [t for t in (summary(findings), effects(findings), expected(findings)) if t]


def markdown(findings: Findings, title: str) -> str:
    """The tables in Markdown."""
    parts = [f"# {_one_line(title)}", ""]
    for table in _tables(findings):
        header = [f"{group} {name}".strip() for group, name in table.header]
        lines = [_line(header), _line(["---"] * len(header)), *map(_line, table.rows)]
        parts += [f"## {_escaped(table.title)}", "", *lines, ""]
    return "\n".join([*parts, NOTE, ""])


def latex(findings: Findings, title: str) -> str:
    """The tables in LaTeX; needs booktabs and, for the width of many columns, graphicx.

    One that is wider than a page can be read is cut between groups of columns.
    """
    parts = ["% \\usepackage{booktabs,graphicx}"]
    for table in _tables(findings):
        parts += [_tabular(each, f"{title}. {each.title}") for each in _readable(table)]
    return "\n".join(parts)


def _readable(table: Table) -> list[Table]:
    """The table in pieces of at most `COLUMNS` columns, each with the names of the rows."""
    groups: list[list[int]] = []
    for at, (group, _) in enumerate(table.header[1:], start=1):
        if groups and table.header[groups[-1][0]][0] == group:
            groups[-1].append(at)
        else:
            groups.append([at])
    pieces: list[list[int]] = []
    for columns in groups:
        if pieces and len(pieces[-1]) + len(columns) < COLUMNS:
            pieces[-1] += columns
        else:
            pieces.append(list(columns))
    found = []
    for at, columns in enumerate(pieces, start=1):
        kept = [0, *columns]
        part = f", part {at} of {len(pieces)}" if len(pieces) > 1 else ""
        rows = [[row[each] for each in kept] for row in table.rows]
        found.append(Table(f"{table.title}{part}", [table.header[each] for each in kept], rows))
    return found


def _tabular(table: Table, caption: str) -> str:
    spans: list[tuple[str, int]] = []
    for group, _ in table.header:
        if spans and spans[-1][0] == group:
            spans[-1] = (group, spans[-1][1] + 1)
        else:
            spans.append((group, 1))
    top, rules, at = [], [], 1
    for group, width in spans:
        top.append(
            f"\\multicolumn{{{width}}}{{c}}{{{_tex(group)}}}" if group else "&" * (width - 1)
        )
        if group:
            rules.append(f"\\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    body = [[_tex(cell) for cell in row] for row in table.rows]
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{_tex(_one_line(caption))}. {_tex(NOTE)}}}",
            "\\resizebox{\\textwidth}{!}{%",
            f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            "\\toprule",
            *([" & ".join(top) + r" \\", " ".join(rules)] if rules else []),
            " & ".join(_tex(name) for _, name in table.header) + r" \\",
            "\\midrule",
            *(" & ".join(row) + r" \\" for row in body),
            "\\bottomrule",
            "\\end{tabular}}",
            "\\end{table}",
            "",
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}",
    **{each: f"\\{each}" for each in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\dots{}",
}


def _tex(text: str) -> str:
    """Plain text for LaTeX; a minus before a digit is a minus."""
    escaped = "".join(_TEX.get(each, each) for each in _one_line(text))
    # A leading bracket would be read as the argument of the \\ that ends the row before.
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def _scores(outcome: Outcome | None, strict: bool) -> list[str]:
    if outcome is None:
        return [NOTHING] * (3 + strict)
    found = outcome.score.contrasts
    cells = [
        f"{points(found[key].value)} {interval(found[key])}{plus_minus(outcome.spread(key))}"
        for key in ("avg", "litm")
    ]
    if strict:
        given = outcome.strict.contrasts["avg"] if outcome.strict else None
        spread = plus_minus(outcome.spread("strict"))
        cells.insert(1, f"{points(given.value)} {interval(given)}{spread}" if given else NOTHING)
    flat = f"{points(outcome.flat.gap)} ({points(outcome.flat.expected)})"
    return [*cells, f"{flat}, n={outcome.score.items}"]


def _effect(effect: Effect | None) -> list[str]:
    if effect is None or effect.found is None:
        return [NOTHING] * (2 * len(COMPARED))
    cells = []
    for key in COMPARED:
        given = effect.found.contrasts[key]
        cells += [f"{signed(given)} {interval(given)}", p_value(effect.adjusted[key])]
    return cells


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return escape(_one_line(text), quote=False).replace("\\", "\\\\").replace("|", "\\|")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"
