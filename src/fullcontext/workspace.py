"""A W&B workspace and report for a sweep: python -m fullcontext.workspace RUN_OR_SWEEP [...].

Their runs are filtered by id and grouped by the settings that differ between them, seeds aside, so
that repetitions become one line with its spread. Without a server, or with `--spec FILE`, both are
written as JSON, as W&B stores them.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.report import groups
from fullcontext.report import runs as folders
from fullcontext.store import write_aside
from fullcontext.track.identity import SEPARATOR
from fullcontext.track.mirror import reason
from fullcontext.track.on_wandb import quiet

log = logging.getLogger("fullcontext")
INSTALL = "pip install 'fullcontext[workspaces]'"
REPEATED = ("seed",)
"""Keys whose values are repetitions, not conditions."""
LAYOUT = ("tracking", "hardware", "profile", "checkpoint")
"""Sections that do not change what a run learns."""
TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is known of some runs."""

    title: str
    project: str
    entity: str
    ids: tuple[str, ...]
    keys: tuple[str, ...]
    """Settings that differ, as in W&B's flat config: `data/filler`."""
    metrics: tuple[str, ...]
    """Names of all that was logged."""


def sweep(paths: Sequence[str], entity: str | None = None, project: str | None = None) -> Sweep:
    """The runs in some folders. Raises ConfigError where there are none that train.py wrote."""
    found = [run for run in folders.find(list(paths)) if (run.folder / "id.txt").exists()]
    if not found:
        raise ConfigError(f"no run with an id.txt in {', '.join(paths)}; name folders of train.py")
    tracking = found[0].config.get("tracking") or {}
    keys = [key for key in groups.differing(found) if key.split(".")[0] not in LAYOUT]
    return Sweep(
        title=" ".join(Path(path).name for path in paths),
        project=project or tracking.get("project") or "fullcontext",
        entity=entity or tracking.get("entity") or "",
        ids=tuple((run.folder / "id.txt").read_text().strip() for run in found),
        keys=tuple(key.replace(".", SEPARATOR) for key in keys if key not in REPEATED),
        metrics=tuple(sorted({key for run in found for line in run.metrics for key in line})),
    )


def sections(given: Sweep) -> dict[str, list[str]]:
    """Title of a section -> the metrics that it draws against tokens."""
    probes = [key for key in given.metrics if key.startswith("probe/")]
    return {
        "Training": [key for key in ("loss", "grad_norm", "lr") if key in given.metrics],
        "Probe averages": [key for key in probes if key.endswith("/avg")],
        "Lost in the middle": [key for key in probes if key.endswith("/litm")],
    }


def workspace(given: Sweep) -> Any:
    """The workspace, not saved. Raises ConfigError if wandb-workspaces is not installed."""
    ws, wr = _libraries()
    return ws.Workspace(
        entity=given.entity,
        project=given.project,
        name=f"Sweep {given.title}",
        sections=[
            *(
                ws.Section(name=title, panels=_lines(wr, metrics), is_open=True)
                for title, metrics in sections(given).items()
                if metrics
            ),
            ws.Section(name="Runs", panels=[wr.RunComparer(diff_only="split")], is_open=True),
        ],
        settings=ws.WorkspaceSettings(x_axis=TOKENS),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("ID").isin(list(given.ids))],
            groupby=[ws.Config(key) for key in given.keys],
        ),
    )


def report(given: Sweep) -> Any:
    """The report, not saved; the same panels under headings."""
    _, wr = _libraries()
    runset = wr.Runset(  # of the report's own project: naming it would ask the server for its id
        name=given.title,
        filters=f"Metric('ID') in {list(given.ids)!r}",
        groupby=[f"config.{key}" for key in given.keys],
    )
    blocks: list[Any] = [
        wr.P(
            f"{len(given.ids)} runs, grouped by {', '.join(given.keys) or 'nothing'}; lines are"
            " means over what else differs, e.g. seeds."
        )
    ]
    for title, metrics in sections(given).items():
        if metrics:
            grid = wr.PanelGrid(runsets=[runset], panels=_lines(wr, metrics))
            blocks += [wr.H2(title), grid]
    comparer = wr.PanelGrid(runsets=[runset], panels=[wr.RunComparer(diff_only="split")])
    return wr.Report(
        entity=given.entity,
        project=given.project,
        title=f"Sweep {given.title}"[:128],
        blocks=[*blocks, wr.H2("Runs"), comparer],
    )


def _lines(wr: Any, metrics: list[str]) -> list[Any]:
    return [
        wr.LinePlot(title=metric, x=TOKENS, y=[metric], groupby_rangefunc="stddev")
        for metric in metrics
    ]


def spec(given: Sweep) -> dict[str, Any]:
    """Both as W&B stores them."""
    made: dict[str, Any] = {"workspace": workspace(given), "report": report(given)}
    return {
        name: json.loads(each._to_model().model_dump_json(by_alias=True, exclude_none=True))
        for name, each in made.items()
    }


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise ConfigError(f"wandb-workspaces is not installed ({error}); {INSTALL}") from error
    return ws, wr


def save(given: Sweep) -> list[str]:
    """Saves both on the server, in the user's own entity where none is named; their addresses."""
    quiet()
    import wandb

    if not given.entity:
        given = replace(given, entity=wandb.Api().default_entity or "")
    return [str(workspace(given).save().url), str(report(given).save().url)]


def main(words: Sequence[str]) -> int:
    """Saves, or writes the specification where that does not work; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser("python -m fullcontext.workspace", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN_OR_SWEEP")
    parser.add_argument("--entity", help="W&B user or team; else that of the runs")
    parser.add_argument("--project", help="W&B project; else that of the runs")
    parser.add_argument("--spec", type=Path, help="writes the JSON to this file and saves nothing")
    given = parser.parse_args(words)
    try:
        runs = sweep(given.runs, given.entity, given.project)
        if given.spec is None:
            return _save_or_write(runs, Path("workspace.json"))
        _write(runs, given.spec)
    except ConfigError as error:
        log.error("error: %s", error)
        return 2
    return 0


def _save_or_write(runs: Sweep, path: Path) -> int:
    try:
        for address in save(runs):
            log.info("%s", address)
    except ConfigError:
        raise
    except Exception as error:  # no key, no server, or one that refuses: wandb raises many kinds
        log.warning("W&B does not take it (%s)", reason(error))
        _write(runs, path)
    return 0


def _write(runs: Sweep, path: Path) -> None:
    write_aside(path, json.dumps(spec(runs), indent=1))
    log.info("wrote %s", path)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
