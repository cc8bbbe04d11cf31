"""Runs that differ in nothing but their seed -> one group, the unit of tables and figures."""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.report.runs import Run
from fullcontext.report.wording import LABEL_LENGTH, NOTHING, shorten

NAMES = ("name", "claim", "expected", "resume", "runs", "output", "title")
"""Keys that name a run instead of deciding what it does."""
NOT_COMPARED = (*NAMES, "run")
"""Keys that are no columns of a table: the run that was probed stands in its own row."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one configuration."""

    index: int
    """Place on the page; fixes colour and marker."""
    label: str
    runs: tuple[int, ...]
    """Places of its runs in the list of runs."""
    settings: dict[str, str]
    """The differing keys and their values here, NOTHING where there is none."""

    @property
    def seeds(self) -> int:
        """How many runs it holds, no two of the same seed."""
        return len(self.runs)


def flatten(tree: Any, prefix: str = "") -> dict[str, str]:
    """A config as dotted keys and the values as they are written in YAML."""
    if isinstance(tree, dict) and tree:
        return {
            path: value
            for key, branch in tree.items()
            for path, value in flatten(branch, f"{prefix}.{key}".lstrip(".")).items()
        }
    if isinstance(tree, float):
        return {prefix: f"{tree:.12g}"}
    return {prefix: tree if isinstance(tree, str) else json.dumps(tree, default=str)}


def _flat(run: Run) -> dict[str, str]:
    """The configuration of a run; weights of the run's own seed (`init: RUNS/seed0`, seed 0) read
    the same for every seed, since runs that differ in nothing else are seeds of one setting."""
    flat = flatten(run.config) if run.config else {}
    if "init" in flat and "seed" in flat:
        flat["init"] = re.sub(rf"\bseed{re.escape(flat['seed'])}\b", "seed${seed}", flat["init"])
    return flat


def is_seed(key: str) -> bool:
    """Whether a key holds a seed, of the run or of a part of it."""
    return key.split(".")[-1] == "seed"


def differing(runs: list[Run]) -> dict[str, list[str]]:
    """Config keys whose values differ, each with one value a run (NOTHING where it has none).

    A run that lacks the whole section (a probe has no schedule) does not make its keys differ.
    """
    return _differing([_flat(run) for run in runs])


def _differing(flat: list[dict[str, str]]) -> dict[str, list[str]]:
    sections = [{key.split(".")[0] for key in config} for config in flat]
    found = {}
    for key in dict.fromkeys(key for config in flat for key in config):
        section = key.split(".")[0]
        if section in NOT_COMPARED:
            continue
        given = {
            config.get(key, NOTHING)
            for config, has in zip(flat, sections, strict=True)
            if section in has
        }
        if len(given) > 1:
            found[key] = [config.get(key, NOTHING) for config in flat]
    return found


def group(runs: list[Run], *, by_value: bool = False) -> list[Group]:
    """The groups of the runs, in the order of the runs or by the values of what differs.

    Two runs of one configuration and one seed are no two seeds: the second begins another group,
    as it does for a run without a configuration.
    """
    flat = [_flat(run) for run in runs]
    members: dict[tuple[Any, ...], list[int]] = {}
    times: Counter[tuple[Any, ...]] = Counter()
    for index, config in enumerate(flat):
        kept = {key: value for key, value in config.items() if key.split(".")[0] not in NAMES}
        whole: Any = tuple(sorted(kept.items())) if config else index
        same: Any = tuple(each for each in whole if not is_seed(each[0])) if config else index
        occurrence = times[whole,]
        times[whole,] += 1
        members.setdefault((same, occurrence), []).append(index)
    gathered = list(members.values())
    firsts = [flat[places[0]] for places in gathered]
    settings = {key: given for key, given in _differing(firsts).items() if not is_seed(key)}
    if by_value and settings:
        order = sorted(
            range(len(gathered)), key=lambda at: [_rank(given[at]) for given in settings.values()]
        )
        gathered = [gathered[at] for at in order]
        settings = {key: [given[at] for at in order] for key, given in settings.items()}
    labels = _labels([[runs[at] for at in places] for places in gathered], settings)
    return [
        Group(at, labels[at], tuple(places), {key: given[at] for key, given in settings.items()})
        for at, places in enumerate(gathered)
    ]


def number_in(value: str) -> float | None:
    """The number that a setting is; None for anything else."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def short_key(key: str, keys: list[str]) -> str:
    """As much of the end of a dotted key as no other key ends with."""
    parts = key.split(".")
    for size in range(1, len(parts)):
        short = ".".join(parts[-size:])
        if sum(other == short or other.endswith(f".{short}") for other in keys) == 1:
            return short
    return key


def find(groups: list[Group], runs: list[Run], wanted: str | None) -> Group:
    """The group of a label, a name or a folder; the first one for None.

    Raises ConfigError where none, or more than one, is meant.
    """
    if wanted is None:
        return groups[0]
    for names in (_said, _folders):
        found = [each for each in groups if wanted in names(each, runs)]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(each.label for each in found)
            raise ConfigError(f"baseline: {wanted} names several: {several}; give a folder")
    raise ConfigError(
        f"baseline: {wanted} is no run on the page; give one of"
        f" {', '.join(each.label for each in groups[:12])}, or a run folder"
    )


def _said(group: Group, runs: list[Run]) -> set[str]:
    keys = list(group.settings)
    pairs = {f"{key}={value}" for key, value in group.settings.items()}
    pairs |= {f"{short_key(key, keys)}={value}" for key, value in group.settings.items()}
    return {group.label, *pairs, *(runs[at].name for at in group.runs)}


def _folders(group: Group, runs: list[Run]) -> set[str]:
    places = [runs[at].folder for at in group.runs]
    here = {str(place) for place in places} | {place.name for place in places}
    return here | {str(Path(place).relative_to(Path.cwd())) for place in places if _within(place)}


def _within(place: Path) -> bool:
    return place.is_relative_to(Path.cwd())


def _rank(value: str) -> tuple[int, float, str]:
    number = number_in(value)
    return (0, number, "") if number is not None else (1, 0.0, value)


def _labels(members: list[list[Run]], settings: dict[str, list[str]]) -> list[str]:
    """Short and unique: the name, where it tells groups apart, else what differs; the folder, where
    that is too long to read."""
    names = [runs[0].name if len({run.name for run in runs}) == 1 else "" for runs in members]
    if settings and (len(set(names)) < len(names) or "" in names):
        keys = list(settings)
        told = _telling(settings)
        names = [
            ", ".join(f"{short_key(key, keys)}={shorten(settings[key][at], 16)}" for key in told)
            for at in range(len(members))
        ]
        single = all(len(runs) == 1 for runs in members)
        if single and any(len(name) > LABEL_LENGTH for name in names):
            names = [f"{run.name} in {run.folder.name}" for (run,) in members]
    names = [name or members[at][0].name for at, name in enumerate(names)]
    return unique([shorten(name, LABEL_LENGTH) for name in names])


def _telling(settings: dict[str, list[str]]) -> list[str]:
    """The first keys that tell the groups apart as well as all keys do, at most three."""
    told: list[str] = []
    for key in settings:
        before = len(set(zip(*(settings[each] for each in told), strict=True))) if told else 1
        with_it = len(set(zip(*(settings[each] for each in [*told, key]), strict=True)))
        if with_it > before:
            told.append(key)
    return told[:3]


def unique(names: list[str]) -> list[str]:
    """The names, with a number where one repeats."""
    repeated = {name for name, times in Counter(names).items() if times > 1}
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name} #{seen[name]}" if name in repeated else name)
    return found


def spread(values: list[float]) -> float:
    """Standard deviation of a sample over seeds; nan below two."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else math.nan
