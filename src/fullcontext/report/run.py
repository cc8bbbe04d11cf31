"""report.py: run folders -> report.html, figures/*.png and table.md."""

import sys
from pathlib import Path

from fullcontext.compose import RunInfo
from fullcontext.config.verbs import ReportConfig
from fullcontext.report import page, table
from fullcontext.report.curves import common_bins, measure
from fullcontext.report.runs import find
from fullcontext.store import write_aside


def run(config: ReportConfig, info: RunInfo) -> Path:
    """Writes the report and returns the path of its page, also the last line of the output."""
    runs = find(config.runs)
    folder = Path(config.output) if config.output else info.output_dir
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    labels = table.labels(runs)
    bins = common_bins(runs)
    outcomes = measure(runs, labels, bins, config.bootstrap, config.seed)
    how = (
        f"{bins} depth bins; {config.bootstrap:,} bootstrap resamples by context and as many"
        f" permutations; seed {config.seed}."
    )
    html = page.render(runs, labels, outcomes, config.title, how, folder / "figures")
    write_aside(folder / "table.md", table.markdown(runs, labels, outcomes, config.title))
    path = folder / "report.html"
    write_aside(path, html)
    sys.stdout.write(f"{path}\n")
    return path
