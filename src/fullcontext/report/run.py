"""report.py: runs -> report.html, figures/*.png, table.md, table.tex and statistics.csv."""

import sys
from pathlib import Path

from fullcontext.cluster import progress
from fullcontext.compose import RunInfo
from fullcontext.config.verbs import ReportConfig
from fullcontext.entry import remove_empty
from fullcontext.report import findings, page, table, tidy
from fullcontext.report.curves import SPLITS
from fullcontext.report.runs import find
from fullcontext.store import write_aside


def run(config: ReportConfig, info: RunInfo) -> Path | None:
    """Writes the report and returns the path of its page, also the last line of the output.

    With `status` it prints where the points of that sweep are, and writes nothing.
    """
    if config.status is not None:
        sweep = Path(config.status)
        sys.stdout.write(progress.text(sweep, progress.read(sweep)))
        remove_empty(info.output_dir)
        return None
    found = findings.find(
        find(config.runs),
        baseline=config.baseline,
        permutations=config.permutations,
        seed=config.seed,
        by_value=len(config.runs) == 1,
    )
    folder = Path(config.output) if config.output else info.output_dir
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    how = (
        f"{found.bins} depth bins; {config.permutations:,} permutations behind each flat gap and"
        f" {SPLITS} splits behind each cross-fit gap; seed {config.seed}."
    )
    html = page.render(found, config.title, how, folder / "figures")
    write_aside(folder / "table.md", table.markdown(found, config.title))
    write_aside(folder / "table.tex", table.latex(found, config.title))
    write_aside(folder / "statistics.csv", tidy.write(found))
    path = folder / "report.html"
    write_aside(path, html)
    sys.stdout.write(f"{path}\n")
    return path
