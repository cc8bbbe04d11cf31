"""The runs that Hydra would launch for a command line, and where; nothing is launched."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from fullcontext import compose
from fullcontext.compose import ConfigError
from fullcontext.config import TrainConfig
from fullcontext.launch import place as started
from fullcontext.plan.memory import Place

PER_MACHINE = 8
MOST = 2000
"""Points of a sweep that are planned."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a SLURM profile asks for."""

    name: str | None = None
    devices: int | None = None
    per_machine: int | None = None
    minutes: int | None = None
    """Time limit of a job."""


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a command line."""

    words: tuple[str, ...]
    """What is swept, at this point."""
    config: TrainConfig
    profile: Profile


def points(words: Sequence[str], takes_trials: bool = False) -> list[Point]:
    """Every run that `train.py WORDS` would launch: one, or those of a sweep.

    Points that Optuna is going to choose are not known before: if it `takes_trials`, as many as
    there will be with the settings that it starts from. Raises ConfigError for them otherwise, and
    for words that do not compose.
    """
    fixed, combined, trials = swept(words, "train", takes_trials)
    made = []
    for own in combined:
        cfg = _composed([*fixed, *own], "train")
        config = compose.typed(_without_hydra(cfg), TrainConfig)
        made.append(Point(own, config, _profile(cfg)))
    return made * (trials or 1)


def swept(
    words: Sequence[str], verb: str, takes_trials: bool = False
) -> tuple[list[str], list[tuple[str, ...]], int]:
    """The words that all points of a command line share, those of each, and Optuna's trials, as
    `points` has them. Raises ConfigError as it does."""
    from hydra.errors import HydraException

    flags = [word for word in words if word.startswith("-")]
    unknown = [flag for flag in flags if flag not in ("-m", "--multirun")]
    if unknown:
        raise ConfigError(f"plan.py does not know {unknown[0]}; see plan.py --help")
    given = [word for word in words if not word.startswith("-")]
    try:
        fixed, axes, trials = _axes(given, verb)
        if trials and not takes_trials:
            raise ConfigError(
                "hydra/sweeper=optuna chooses its points as it goes; plan one of them, and multiply"
                f" by hydra.sweeper.n_trials={trials}"
            )
    except HydraException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    combined = list(product(*axes.values()))
    if len(combined) > MOST:
        raise ConfigError(f"the sweep has {len(combined):,} points; plan.py plans {MOST:,}")
    own = [tuple(f"{k}={v}" for k, v in zip(axes, values, strict=True)) for values in combined]
    return fixed, own, trials


def place(config: TrainConfig, profile: Profile, device: str) -> Place:
    """Where a run would be: `plan.gpus`, else the profile's devices, else the processes started."""
    here = started()
    ranks = config.plan.gpus or profile.devices or here.size
    machine = config.plan.gpus_per_machine or profile.per_machine or PER_MACHINE
    return Place(ranks, min(ranks, machine), device)


def _axes(words: list[str], verb: str) -> tuple[list[str], dict[str, list[str]], int]:
    """What is fixed, and each swept key with its values: of the command line and of `sweeps=`.

    Beside them the number of Optuna's trials, which have no such keys; 0 where it is not used.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    parsed = list(zip(words, parser.parse_overrides(words), strict=True))
    fixed = [word for word, each in parsed if not each.is_sweep_override()]
    axes = {
        each.get_key_element(): list(each.sweep_string_iterator())
        for _, each in parsed
        if each.is_sweep_override()
    }
    sweeper = _composed(fixed, verb).hydra.sweeper
    if "direction" in sweeper:
        return fixed, {}, int(sweeper.n_trials)
    named = {word.partition("=")[0].lstrip("+~") for word in words}
    for key, value in (sweeper.get("params") or {}).items():
        if key in named:
            continue  # the command line has the last word
        word = f"{key}={value}"
        each = parser.parse_override(word)
        if each.is_sweep_override():
            axes[key] = list(each.sweep_string_iterator())
        else:
            fixed.append(word)
    return fixed, axes, 0


def _composed(words: list[str], verb: str) -> Any:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    compose.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(compose.ROOT / "conf"), version_base="1.3"):
        from hydra import compose as hydra_compose

        try:
            return hydra_compose(verb, overrides=words, return_hydra_config=True)
        except HydraException as error:
            raise ConfigError(str(error).splitlines()[0]) from error


def _without_hydra(cfg: Any) -> Any:
    from omegaconf import open_dict

    bare = cfg.copy()
    with open_dict(bare):
        del bare["hydra"]
    return bare


def _profile(cfg: Any) -> Profile:
    """Of `slurm=`: nodes times devices, or times tasks where none are asked for."""
    from omegaconf import OmegaConf

    name = cfg.hydra.runtime.choices.get("slurm")
    if name is None:
        return Profile()
    launcher = OmegaConf.to_container(cfg.hydra.launcher, resolve=False)
    assert isinstance(launcher, dict)
    tasks = launcher.get("tasks_per_node")
    each = launcher.get("gpus_per_node") or (tasks if isinstance(tasks, int) else None)
    nodes = launcher.get("nodes") or 1
    devices = int(nodes) * int(each) if each else None
    minutes = launcher.get("timeout_min")
    return Profile(str(name), devices, int(each) if each else None, minutes)
