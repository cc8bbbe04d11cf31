"""Asks a model at every position: in training (`probe_model`), or as the verb probe.py (`run`)."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.compose import RunInfo, plain, write_yaml
from fullcontext.config import DataConfig, Precision, ProbeConfig, ProbeRunConfig
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.probe import contexts, score, source
from fullcontext.probe.contexts import ProbeContext
from fullcontext.records import Answer
from fullcontext.store import alone, fingerprint, read_lines, write_aside

Progress = Callable[[int], None]
"""Called with the number of questions answered since the last call."""


def probe_model(  # noqa: PLR0913, PLR0917 - what fixes the answers, and the last to watch
    model: Any,
    prompt: Prompt,
    data: DataConfig,
    config: ProbeConfig,
    seed: int,
    precision: Precision = Precision.fp32,
    progress: Progress | None = None,
) -> dict[str, list[Answer]]:
    """The answers of a model to every task, contexts in order and positions rising.

    What is asked depends on the settings and the seed alone, so that any two calls are paired
    question by question. The model comes back in the mode it was in; no global randomness is
    used. Raises ConfigError as `contexts.build` does.
    """
    asked = contexts.build(prompt, data, config, seed, model.config.max_position_embeddings)
    return {
        task: ask(model, sets, prompt, config.max_new_tokens, precision, progress)
        for task, sets in asked.items()
    }


def ask(
    model: Any,
    sets: Sequence[ProbeContext],
    prompt: Prompt,
    max_new_tokens: int,
    precision: Precision = Precision.fp32,
    progress: Progress | None = None,
) -> list[Answer]:
    """The answers to the questions of some contexts."""
    answers: list[Answer] = []
    with _evaluating(model):
        for each in sets:
            answers += _ask_one(model, each, prompt, max_new_tokens, precision)
            if progress is not None:
                progress(len(each.example.asked))
    return answers


def _ask_one(
    model: Any, asked: ProbeContext, prompt: Prompt, max_new_tokens: int, precision: Precision
) -> list[Answer]:
    from fullcontext.probe.answer import answer

    encoder = prompt.encoder
    replies = answer(model, asked.example, prompt.end_token, max_new_tokens, precision)
    answers = []
    for question, reply in zip(asked.example.asked, replies, strict=True):
        assert question.position is not None and question.depth is not None
        item = asked.items[question.position]
        prediction = encoder.tokenizer.decode(reply.tokens, skip_special_tokens=True)
        answers.append(
            Answer(
                task=asked.task,
                set=asked.set,
                position=question.position,
                items=len(asked.items),
                depth=question.depth,
                context_tokens=len(asked.example.context),
                question=item.question,
                gold=item.gold,
                prediction=prediction,
                score=score.score(asked.task, item.gold, prediction),
                first_logp=float(reply.logp[0]),
                mean_logp=float(reply.logp.mean()),
            )
        )
    return answers


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def answers_file(folder: Path, task: str, step: int) -> Path:
    """Where the answers to a task at a step stand in the folder `answers` of a run."""
    return folder / f"{task}_step{step:06d}.jsonl"


def write_answers(answers: dict[str, list[Answer]], folder: Path, step: int) -> None:
    """Writes <task>_step<step>.jsonl into RUN/answers, each file whole or not at all."""
    for task, given in answers.items():
        lines = (json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in given)
        write_aside(answers_file(folder, task, step), "".join(lines))


def read_answers(path: Path) -> list[Answer]:
    """The answers of a file that `write_answers` wrote."""
    return [Answer(**record) for record in read_lines(path)]


def scalars(answers: dict[str, list[Answer]], bins: int) -> dict[str, float]:
    """probe/<task>/avg, litm, gap, worst, n (report.statistics.summary) and mean_logp."""
    from fullcontext.report.statistics import summary

    found: dict[str, float] = {}
    for task, given in answers.items():
        values = summary(
            np.array([answer.score for answer in given]),
            np.array([answer.depth for answer in given]),
            np.array([answer.set for answer in given]),
            bins,
        )
        values["mean_logp"] = float(np.mean([answer.mean_logp for answer in given]))
        found |= {f"probe/{task}/{key}": float(value) for key, value in values.items()}
    return found


def run(config: ProbeRunConfig, info: RunInfo) -> None:
    """The verb: probes `run` or `model` and leaves a folder that report.py reads.

    In a folder that already has answers, with the same settings (hydra.run.dir=FOLDER), a task
    whose file is there is not asked again; files are written whole, one a task.
    """
    given = source.find(config, info)
    config, folder = given.config, info.output_dir
    positions = config.model.architecture.max_positions
    contexts.check(config.probe, positions)
    source.refuse_other_settings(config, folder)
    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)
    from fullcontext.model import tokenizer

    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    asked = contexts.build(prompt, config.data, config.probe, config.seed, positions)
    write_yaml(config, folder / "config.yaml")
    with alone(folder, "probing in"), _status(config, folder) as status:
        model, status["step"] = source.load_model(given)
        answers = _ask_all(model, asked, prompt, config, folder / "answers", status["step"])
    _print(answers, config, folder)


def _ask_all(
    model: Any,
    asked: dict[str, list[ProbeContext]],
    prompt: Prompt,
    config: ProbeRunConfig,
    folder: Path,
    step: int,
) -> dict[str, list[Answer]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, transient=True) as bar:
        for task, sets in asked.items():
            path = answers_file(folder, task, step)
            if path.exists():
                continue
            line = bar.add_task(task, total=sum(len(each.example.asked) for each in sets))
            advance = partial(bar.advance, line)
            found = ask(model, sets, prompt, config.probe.max_new_tokens, config.precision, advance)
            write_answers({task: found}, folder, step)
    return {task: read_answers(answers_file(folder, task, step)) for task in asked}


@contextmanager
def _status(config: ProbeRunConfig, folder: Path) -> Iterator[dict[str, Any]]:
    """Keeps status.json true: running, then finished, or failed with the error's first line."""
    started = time.monotonic()
    status: dict[str, Any] = {
        "verb": "probe", "name": config.name, "id": fingerprint(plain(config)), "state": "running",
        "step": 0, "steps": 0, "error": None, "seconds": 0.0,
    }  # fmt: skip

    def write(state: str, error: str | None = None) -> None:
        status.update(state=state, error=error, seconds=round(time.monotonic() - started, 3))
        write_aside(folder / "status.json", json.dumps(status, indent=2) + "\n")

    write("running")
    try:
        yield status
    except BaseException as error:
        write("failed", (str(error).splitlines() or [type(error).__name__])[0])
        raise
    write("finished")


def _print(answers: dict[str, list[Answer]], config: ProbeRunConfig, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    values = scalars(answers, config.probe.bins)
    table = Table(title=f"{config.name}: {config.probe.context_tokens} tokens")
    for column in ("task", "avg", "litm", "gap", "n", "first logp", "mean logp"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, given in answers.items():
        avg, litm, gap = (f"{values[f'probe/{task}/{key}']:.3f}" for key in ("avg", "litm", "gap"))
        first = float(np.mean([answer.first_logp for answer in given]))
        mean = values[f"probe/{task}/mean_logp"]
        table.add_row(task, avg, litm, gap, str(len(given)), f"{first:.2f}", f"{mean:.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"Answers are in {folder}/answers. A page with curves and intervals:", soft_wrap=True
    )
    console.print(f"  python report.py {folder}", soft_wrap=True, highlight=False)
