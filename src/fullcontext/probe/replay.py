"""Answers that were given elsewhere, in the files of VaL's release, scored as if given here."""

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import ReplayConfig
from fullcontext.probe import film, released, score
from fullcontext.records import Answer


def read(config: ReplayConfig) -> list[Answer]:
    """The rows of the items and predictions, skipped ones left out.

    Raises ConfigError if a file is missing, is of another format, or the numbers of lines differ:
    the release aligns them by line alone.
    """
    items, predictions = _lines(config.items), _lines(config.predictions)
    if len(items) != len(predictions):
        raise ConfigError(
            f"probe.items has {len(items)} lines and probe.predictions {len(predictions)}; they are"
            " aligned line by line, so take files of the same release"
        )
    skipped = _skipped(config.skip, len(items))
    if len(skipped) == len(items):
        raise ConfigError(f"probe.skip={config.skip} skips every line; nothing is left to score")
    sizes = _sizes(items, config.items)
    golds: dict[score.Context, list[str]] = defaultdict(list)
    rows = []
    for number, (item, said) in enumerate(zip(items, predictions, strict=True)):
        gold = _gold(config, number, item)
        golds[config.task, 0, int(item["set_id"])].append(gold)
        if number not in skipped:
            prediction = _prediction(said, config.predictions, number)
            rows.append(_row(config.task, item, gold, prediction, sizes))
    return score.with_strict(rows, golds)


def summary(
    answers: Sequence[Answer], bin_items: int, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """`film` as the release has it; `strict` over all items; `litm` of the film score. All 0-1.

    `flat_gap` is the gap that answers without any position effect show, `cross_fit_gap` the gap
    with best and worst bin chosen on other answers than measured.
    """
    from fullcontext.report import crossfit, statistics

    depth = np.array([answer.depth for answer in answers])
    sets = np.array([answer.set for answer in answers])
    said = np.array([answer.score for answer in answers])
    strict = np.array([answer.strict for answer in answers], dtype=np.float64)
    bins = max(1, max(answer.items for answer in answers) // bin_items)
    figures = film.figures(answers, bin_items)
    own = statistics.estimate(strict, depth, sets, bins).contrasts
    litm = statistics.estimate(said, depth, sets, bins).contrasts["litm"]
    flat = statistics.flat_gap(said, depth, sets, bins, resamples, np.random.default_rng(seed))
    fitted = crossfit.cross_fit(said, depth, sets, bins, resamples, np.random.default_rng(seed))
    return {
        "film": {"avg": figures.avg, "gap": figures.gap},
        "strict": {
            "avg": own["avg"].value,
            "gap": statistics.gap(strict, depth, bins),
            "litm": _known(own["litm"].value),
        },
        "litm": {
            "value": _known(litm.value),
            "low": _known(litm.low),
            "high": _known(litm.high),
        },
        "position_effect_p": flat.p_value,
        "flat_gap": flat.expected,
        "cross_fit_gap": _known(fitted.gap),
        "items": len(answers),
        "sets": len(set(sets.tolist())),
    }


def show(config: ReplayConfig, answers: list[Answer]) -> None:
    """A table of the bins, then the summary as one line of JSON."""
    from rich.console import Console
    from rich.table import Table

    found, figures = summary(answers, config.bin_items), film.figures(answers, config.bin_items)
    table = Table(title=f"{config.task}: {len(answers)} answers, {Path(config.predictions).name}")
    for column in ("positions", "film", "std over sets", "strict", "n"):
        table.add_column(column, justify="right")
    for at, (mean, std) in enumerate(zip(figures.bins, figures.std, strict=True)):
        first = at * config.bin_items
        own = [a for a in answers if first <= a.position < first + config.bin_items]
        strict = float(np.mean([a.strict or 0.0 for a in own]))
        table.add_row(
            f"{first}-{first + config.bin_items - 1}",
            f"{100 * mean:.1f}", f"{100 * std:.1f}", f"{100 * strict:.1f}", str(len(own)),
        )  # fmt: skip
    console = Console()
    console.print(table)
    parts = ", ".join(f"{key} {100 * value:.1f}" for key, value in found["film"].items())
    console.print(f"film (the release's figures): {parts}", highlight=False)
    sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _lines(path: str) -> list[dict[str, Any]]:
    if not Path(path).is_file():
        raise ConfigError(f"{path} is not a file; name a file of the VaL release")
    found = []
    for number, line in enumerate(Path(path).read_text("utf-8").split("\n"), start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(record, dict):
                raise ConfigError(f"{path}, line {number}: not a JSON object")
            found.append(record)
    if not found:
        raise ConfigError(f"{path} is empty; name a file of the VaL release")
    return found


def _skipped(path: str | None, lines: int) -> set[int]:
    if path is None:
        return set()
    try:
        given = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"probe.skip={path} cannot be read as JSON ({error})") from error
    if not isinstance(given, list) or not all(isinstance(each, int) for each in given):
        raise ConfigError(f"probe.skip={path} is not a JSON list of line numbers")
    outside = [each for each in given if not 0 <= each < lines]
    if outside:
        raise ConfigError(
            f"probe.skip={path} skips line {outside[0]}, but there are {lines}, counted from 0; it"
            " belongs to other files"
        )
    return set(given)


def _sizes(items: list[dict[str, Any]], path: str) -> Counter[int]:
    """Positions of each set."""
    sizes: Counter[int] = Counter()
    for number, item in enumerate(items):
        try:
            set_id, position = int(item["set_id"]), int(item["position_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}, row {number}: no set_id and position_id ({error}); name the data file of"
                " the release, not its pieces"
            ) from error
        if position < 0:
            raise ConfigError(f"{path}, row {number}: position_id={position} is below 0")
        sizes[set_id] = max(sizes[set_id], position + 1)
    return sizes


def _prediction(said: dict[str, Any], path: str, number: int) -> str:
    given = said.get("samples", said.get("sample"))
    if isinstance(given, list):
        given = given[0] if given else None
    if given is None and ("samples" in said or "sample" in said):
        return ""
    if not isinstance(given, str):
        raise ConfigError(
            f"{path}, row {number}: neither samples (a list of texts) nor sample (a text)"
        )
    return given


def _gold(config: ReplayConfig, number: int, item: dict[str, Any]) -> str:
    try:
        return released.gold_of(config.task, item)
    except KeyError as error:
        raise ConfigError(
            f"{config.items}, row {number}: no {error}; is probe.task={config.task} right?"
        ) from error


def _row(task: str, item: dict[str, Any], gold: str, said: str, sizes: Counter[int]) -> Answer:
    if task == "database":
        film_score = score.entity(str(item["label"]), str(item["description"]), said)
    else:
        film_score = score.film(task, gold, said)
    set_id, position = int(item["set_id"]), int(item["position_id"])
    question = str(item.get("prompt", "")).rpartition("### Instruction:")[2].strip()
    return Answer(
        task=task,
        set=set_id,
        position=position,
        items=sizes[set_id],
        depth=position / sizes[set_id],
        context_tokens=0,
        question=question,
        gold=gold,
        prediction=said,
        score=film_score,
        first_logp=math.nan,
        mean_logp=math.nan,
    )
