"""The verb evaluate.py: scores of a suite, entry by entry, resumable, against a reference."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fullcontext import provenance
from fullcontext import status as state
from fullcontext.compose import ConfigError, RunInfo, plain
from fullcontext.config import EvaluateConfig
from fullcontext.evaluate import deltas, outcome, table, tasks, texts
from fullcontext.evaluate import plan as planning
from fullcontext.evaluate.deltas import Delta
from fullcontext.evaluate.outcome import Outcome
from fullcontext.evaluate.plan import Loaded, Plan
from fullcontext.evaluate.tasks import Entry
from fullcontext.records import Document
from fullcontext.store import alone, fingerprint, write_aside


def run(config: EvaluateConfig, info: RunInfo) -> None:
    """Evaluates what has no file yet in the folder; leaves results.json and prints a table.

    Raises ConfigError before any model is loaded if a package, a task, its data, the reference or
    the room for a prompt is missing.
    """
    folder = info.output_dir
    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)
    plan = planning.make(config, info)
    config = plan.config
    provenance.write(folder, config, info)
    with (
        alone(folder, "evaluating in"),
        state.kept("evaluate", config.name, fingerprint(plain(config)), folder) as status,
    ):
        outcomes = _evaluate(plan, folder, status)
        found = _compared(config, outcomes, folder)
        write_aside(folder / "results.json", _results(config, outcomes, found))
    table.show(f"{config.name}: {config.suite.name}", outcomes, found, str(folder))


def _evaluate(plan: Plan, folder: Path, status: dict[str, Any]) -> list[Outcome]:
    missing = [name for name in plan.names if outcome.read(folder, name) is None]
    loaded = Loaded(plan)
    if missing:
        _, status["step"] = loaded.model
    for entry in plan.entries:
        if entry.name in missing:
            _ask(entry, plan, loaded, folder)
    for name, documents in plan.texts.items():
        if name in missing:
            _read(name, documents, plan, loaded, folder)
    read = [outcome.read(folder, name) for name in plan.names]
    return [each for each in read if each is not None]


def _ask(entry: Entry, plan: Plan, loaded: Loaded, folder: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    config, started = plan.config, time.monotonic()
    plan.room.cut.clear()
    with tasks.quiet(), _endpoint_errors(config):
        found = simple_evaluate(
            model=loaded.asked, tasks=entry.parts, num_fewshot=entry.shots, limit=config.limit,
            apply_chat_template=config.chat_template, fewshot_as_multiturn=True,
            bootstrap_iters=1000, random_seed=config.seed,
            # The tasks are built; without this its thousands of files are read for each of them.
            task_manager=TaskManager(include_defaults=False),
        )  # fmt: skip
    assert found is not None
    chosen = config.suite.metrics.get(entry.name)
    listed = outcome.scores(entry, found, chosen)
    if chosen is not None and not any(score.metric == chosen for score in listed):
        raise ConfigError(
            f"suite.metrics.{entry.name}={chosen!r}: it has"
            f" {', '.join(dict.fromkeys(score.metric for score in listed))}"
        )
    samples = {task: outcome.lines(each) for task, each in found["samples"].items()}
    cut = {task: len(documents) for task, documents in plan.room.cut.items()}
    shots = {task: int(found["n-shot"].get(task) or 0) for task in entry.tasks}
    seconds = round(time.monotonic() - started, 3)
    outcome.write(
        folder, Outcome(entry.name, listed, list(entry.tasks), shots, cut, seconds), samples
    )


@contextmanager
def _endpoint_errors(config: EvaluateConfig) -> Iterator[None]:
    """A server that fails for good is said in one sentence; finished tasks are kept."""
    if config.endpoint.url is None:
        yield
        return
    import aiohttp
    import requests

    # The requests beside the one that failed are let go, each with a traceback of the same.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        yield
    except (requests.RequestException, aiohttp.ClientError, TimeoutError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"endpoint.url={config.endpoint.url!r} failed {config.endpoint.tries} times ({reason});"
            " see to the server and continue with hydra.run.dir=FOLDER: finished tasks are kept"
        ) from error


def _read(
    name: str, documents: Sequence[Document], plan: Plan, loaded: Loaded, folder: Path
) -> None:
    from rich.progress import Progress

    started = time.monotonic()
    with Progress(transient=True) as bar:
        line = bar.add_task(name, total=len(documents))
        scores, samples = texts.measure(
            name, documents, loaded.model[0], plan.tokenizer, plan.config,
            lambda: bar.advance(line),
        )  # fmt: skip
    seconds = round(time.monotonic() - started, 3)
    outcome.write(folder, texts.outcome(name, scores, seconds), samples)


def _compared(config: EvaluateConfig, own: Sequence[Outcome], folder: Path) -> list[Delta]:
    if config.reference is None:
        return []
    place = Path(config.reference)
    read = [outcome.read(place, each.name) for each in own]
    theirs = [each for each in read if each is not None]
    names = [task for each in own for task in each.tasks]
    mine, others = (outcome.read_samples(each, names) for each in (folder, place))
    return deltas.compare(own, theirs, mine, others)


def _results(config: EvaluateConfig, outcomes: Sequence[Outcome], found: Sequence[Delta]) -> str:
    shown = [score for each in outcomes for score in each.scores if score.shown]
    record = {
        "name": config.name,
        "suite": config.suite.name,
        "lm_eval": version("lm_eval") if config.suite.tasks else None,
        "limit": config.limit,
        "chat_template": config.chat_template,
        "scores": [asdict(score) for each in outcomes for score in each.scores],
        "averages": [
            {"metric": metric, "value": value, "tasks": number}
            for metric, value, number in table.averages(shown)
        ],
        "shots": {task: shots for each in outcomes for task, shots in each.shots.items()},
        "cut": {task: cut for each in outcomes for task, cut in each.cut.items()},
        "reference": config.reference,
        "deltas": [asdict(delta) for delta in found],
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"
