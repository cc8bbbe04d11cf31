"""Asks a model in this process, one context after another."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.config import DataConfig, Precision, ProbeConfig
from fullcontext.data.tokens import Prompt
from fullcontext.probe import contexts, score
from fullcontext.probe.contexts import ProbeContext
from fullcontext.probe.items import Query
from fullcontext.records import Answer
from fullcontext.store import read_lines, write_aside

Progress = Callable[[int], None]
"""Called with the number of questions answered since the last call."""

_DIAGNOSTICS = ("first_logp", "mean_logp")


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
        task: score.with_strict(
            ask(model, sets, prompt, config.max_new_tokens, precision, progress),
            contexts.golds(sets),
        )
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
    """The answers to the questions of some contexts; `strict` needs all of a context together
    (score.with_strict) and is not filled in."""
    answers: list[Answer] = []
    with _evaluating(model):
        for each in sets:
            answers += _ask_one(model, each, prompt, max_new_tokens, precision)
            if progress is not None:
                progress(len(each.queries))
    return answers


def _ask_one(
    model: Any, asked: ProbeContext, prompt: Prompt, max_new_tokens: int, precision: Precision
) -> list[Answer]:
    from fullcontext.probe.answer import answer

    replies = answer(model, asked.example, prompt.end_token, max_new_tokens, precision)
    decode = prompt.encoder.tokenizer.decode
    return [
        row(
            asked,
            query,
            decode(reply.tokens, skip_special_tokens=True),
            model.config.max_position_embeddings,
            (float(reply.logp[0]), float(reply.logp.mean())),
        )
        for query, reply in zip(asked.queries, replies, strict=True)
    ]


def row(
    asked: ProbeContext,
    query: Query,
    prediction: str,
    window: int,
    logp: tuple[float, float] = (math.nan, math.nan),
) -> Answer:
    """An answer as it is kept; `logp` are those of the gold answer's first token and their mean,
    nan where the model does not tell."""
    return Answer(
        task=asked.task,
        set=asked.set,
        position=query.position,
        items=len(asked.items),
        depth=query.depth,
        context_tokens=len(asked.example.context),
        question=query.question,
        gold=query.gold,
        prediction=prediction,
        score=score.film(asked.task, query.gold, prediction),
        first_logp=logp[0],
        mean_logp=logp[1],
        length=asked.length,
        window=window,
        distance=query.distance,
    )


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
        write_aside(answers_file(folder, task, step), "".join(map(line, given)))


def line(answer: Answer) -> str:
    """A row as JSON; what is not a number is null."""
    record = asdict(answer)
    for key in _DIAGNOSTICS:
        record[key] = None if math.isnan(record[key]) else record[key]
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def read_answers(path: Path) -> list[Answer]:
    """The answers of a file that `write_answers` wrote, or that is being appended to."""
    found = []
    for record in read_lines(path):
        unknown = {key: math.nan for key in _DIAGNOSTICS if record[key] is None}
        found.append(Answer(**record | unknown))
    return found


def scalars(answers: dict[str, list[Answer]], bins: int) -> dict[str, float]:
    """probe/<task>/avg, litm, gap, worst, n (report.statistics.summary), strict and mean_logp.

    With several lengths, those of each are under probe/<task>/<length>/ and the means over the
    lengths under probe/<task>/: curves of different lengths are not pooled.
    """
    found: dict[str, float] = {}
    for task, given in answers.items():
        lengths = sorted({answer.length for answer in given})
        of = {each: _scalars([a for a in given if a.length == each], bins) for each in lengths}
        for key in next(iter(of.values())):
            values = [of[each][key] for each in lengths]
            found[f"probe/{task}/{key}"] = float(sum(values) if key == "n" else np.mean(values))
        if len(lengths) > 1:
            for each in lengths:
                found |= {f"probe/{task}/{each}/{key}": value for key, value in of[each].items()}
    return found


def _scalars(given: Iterable[Answer], bins: int) -> dict[str, float]:
    from fullcontext.report.statistics import summary

    answers = list(given)
    values = summary(
        np.array([answer.score for answer in answers]),
        np.array([answer.depth for answer in answers]),
        np.array([answer.set for answer in answers]),
        bins,
    )
    logp = [answer.mean_logp for answer in answers if math.isfinite(answer.mean_logp)]
    if logp:
        values["mean_logp"] = float(np.mean(logp))
    strict = [answer.strict for answer in answers if answer.strict is not None]
    if strict:
        values["strict"] = float(np.mean(strict))
    return {key: float(value) for key, value in values.items()}
