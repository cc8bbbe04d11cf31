"""Score against context length, in tokens and as a share of the model's window."""

from pathlib import Path
from typing import Any

from fullcontext.report.curves import Outcome
from fullcontext.report.drawing import Drawing, Panel, colour, draw, marker
from fullcontext.report.figures import plain, score_limits, slug
from fullcontext.report.findings import Findings
from fullcontext.report.wording import points, tokens


def figures(findings: Findings, task: str, shown: list[int], folder: Path | None) -> list[Drawing]:
    """One or two figures of a task that was probed at several lengths; none for others."""
    lines = {
        at: sorted(
            (each for each in findings.outcomes
             if each.index == at and each.subject.task == task and not each.before),
            key=lambda each: each.subject.length,
        )
        for at in shown
    }  # fmt: skip
    lines = {at: line for at, line in lines.items() if len(line) > 1}
    if not lines:
        return []
    windows = all(each.items.window > 0 for line in lines.values() for each in line)
    return [
        _figure(task, lines, folder, relative=relative)
        for relative in ((False, True) if windows else (False,))
    ]


def _figure(
    task: str, lines: dict[int, list[Outcome]], folder: Path | None, *, relative: bool
) -> Drawing:
    said = "; ".join(
        f"{line[0].label}: "
        + ", ".join(
            f"{points(each.score.contrasts['avg'].value)} at {tokens(each.subject.length)}"
            for each in line
        )
        for line in list(lines.values())[:8]
    )
    panel = Panel(
        key=f"length_{slug(task)}" + "_relative" * relative,
        title=f"{plain(task)}: average by " + ("share of the window" if relative else "length"),
        note="average over depths, 95 % intervals by context",
        alt=f"Average score on {task} by context length. {said}",
    )

    def place(outcome: Outcome) -> float:
        length = outcome.subject.length
        return 100 * length / outcome.items.window if relative else length

    def paint(axes: Any) -> None:
        axes.set_xscale("log", base=2)
        for at, line in lines.items():
            values = [100 * each.score.contrasts["avg"].value for each in line]
            x = [place(each) for each in line]
            (drawn,) = axes.plot(
                x,
                values,
                color=colour(at),
                marker=marker(at),
                markersize=4,
                label=plain(line[0].label),
            )
            drawn.set_gid(f"run-{at}-line")
            low = [100 * each.score.contrasts["avg"].low for each in line]
            high = [100 * each.score.contrasts["avg"].high for each in line]
            bars = axes.vlines(x, low, high, color=colour(at), linewidth=1, alpha=0.6)
            bars.set_gid(f"run-{at}-bars")
        every = sorted({place(each) for line in lines.values() for each in line})
        names = [f"{each:.3g}" if relative else tokens(each) for each in every]
        axes.set_xticks(every, names) if len(every) <= 8 else None
        axes.minorticks_off()
        axes.set_xlabel("share of the model's window, %" if relative else "context length, tokens")
        axes.set_ylabel("score, points of 100")
        axes.set_ylim(*score_limits([each for line in lines.values() for each in line]))

    return draw(panel, folder, paint)
