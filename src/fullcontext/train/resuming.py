"""Which configuration a run has that goes on: its own, but for how it is laid out on a machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError, RunInfo, plain, read_yaml
from fullcontext.config import TrainConfig
from fullcontext.store import differences

LAYOUT = (
    "attention", "budget", "checkpoint", "checkpointing", "hardware", "log_every", "max_tokens",
    "plan", "profile", "sharding", "threads", "tracking",
)  # fmt: skip
"""Settings that change where and how fast a run computes, but not what beyond float error."""


def settled(config: TrainConfig, info: RunInfo) -> TrainConfig:
    """The config to run: a folder that holds a run goes on with that run's own.

    With `resume=` the settings in LAYOUT may be given anew, so that a run can go on elsewhere.
    Raises ConfigError if others are given, or the folder's run was made with others, naming them.
    """
    path = info.output_dir / "config.yaml"
    if config.resume is None:
        if path.exists():
            refuse_other(plain(read_yaml(path, TrainConfig)), plain(config), info.output_dir)
        return config
    if Path(config.resume).resolve() != info.output_dir.resolve():
        raise ConfigError(
            "resume goes on in its own folder, on this machine; leave out slurm=, sweeps= and"
            " hydra.run.dir="
        )
    if not path.exists():
        raise ConfigError(
            f"resume={config.resume!r} holds no run (no config.yaml); name a run folder, e.g."
            " resume=outputs/train/demo/2026-01-31_12-00-00-000000"
        )
    given = [o for o in info.overrides if not o.startswith("resume=")]
    others = [o for o in given if _key(o).split(".")[0] not in LAYOUT]
    if others:
        raise ConfigError(
            f"resume takes the run's own configuration, but for {', '.join(LAYOUT)}; remove"
            f" {' '.join(others)}, or start a new run from its weights with init={config.resume}"
        )
    own = read_yaml(path, TrainConfig)
    for override in given:
        own = _with(own, config, _key(override).split("."))
    return replace(own, resume=config.resume)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _with(own: Any, given: Any, keys: list[str]) -> Any:
    """`own` with the value that `given` has under a path of keys."""
    key, *rest = keys
    value = getattr(given, key)
    try:
        return replace(own, **{key: _with(getattr(own, key), value, rest) if rest else value})
    except ValueError as error:
        raise ConfigError(f"{error} (the run's other settings are its own)") from error


def refuse_other(there: object, here: object, folder: Path) -> None:
    """Raises ConfigError if two plain configs differ in what a run is made of."""
    differing = [
        f"{key}: {old!r} there, {new!r} here"
        for key, old, new in differences(there, here)
        if key.split(".")[0] not in ("tracking", "resume")
    ]
    if differing:
        raise ConfigError(
            f"{folder} holds a run with other settings ({'; '.join(differing)});"
            f" go on with its own (resume={folder}) or choose another folder"
        )
