"""The model that probe.py probes: a training run's, or one named by the configuration."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError, RunInfo, plain, read_yaml
from fullcontext.config import OpenAIAnswerer, ProbeRunConfig, TrainConfig

_OF_THE_RUN = ("model", "data", "positions")
"""What a run decides itself; overriding it beside `run` would be ignored, so it is refused."""

_FREE = ("threads", "name", "claim", "expected", "export")
"""Settings that do not change an answer: a folder may be continued with others."""

_ANSWERS_DEPEND = ("name", "model", "temperature", "top_p")
"""Settings of an endpoint that do."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is probed, with the configuration completed by the run."""

    config: ProbeRunConfig
    run: Path | None
    weights: Path | None
    """The run's exported model; None means a checkpoint, or no run."""
    step: int
    """Step of the exported model; 0 without a run."""


def find(config: ProbeRunConfig, info: RunInfo) -> Found:
    """Reads the run's own model, prompt, positions, precision and seed; loads nothing.

    Raises ConfigError if `run` is no run folder, or the overrides contradict it.
    """
    if config.run is None:
        if config.step is not None:
            raise ConfigError(f"step={config.step} needs a run; add run=FOLDER or remove step")
        answerer = config.answerer
        asked = answerer.model if isinstance(answerer, OpenAIAnswerer) else config.model.name
        return Found(replace(config, name=config.name or asked), None, None, 0)
    if isinstance(config.answerer, OpenAIAnswerer):
        raise ConfigError(
            f"run={config.run!r} beside answerer=openai: an endpoint answers with its own model;"
            " remove one of them (model= says whose tokenizer counts)"
        )
    of = trained(config.run, config.step, info.overrides)
    given = {override.split("=")[0].lstrip("+") for override in info.overrides}
    own = replace(
        config,
        model=of.config.model,
        data=of.config.data,
        positions=of.config.positions,
        precision=config.precision if "precision" in given else of.config.precision,
        seed=config.seed if "seed" in given else of.config.seed,
        name=config.name or of.name,
    )
    return Found(own, of.folder, of.weights, of.step)


@dataclass(frozen=True, slots=True)
class Trained:
    """A training run whose model is measured."""

    config: TrainConfig
    folder: Path
    name: str
    weights: Path | None
    """The exported model; None means a checkpoint."""
    step: int
    """Step of the exported model; 0 for a checkpoint, which says itself."""


def trained(run: str, step: int | None, overrides: Sequence[str]) -> Trained:
    """Reads what a run was; loads nothing.

    Raises ConfigError if `run` is no run folder, or the overrides contradict it.
    """
    folder = Path(run)
    status = _status(folder)
    if not (folder / "config.yaml").is_file() or status.get("verb", "train") != "train":
        why = "it has no config.yaml" if not status else f"{status.get('verb')}.py wrote it"
        raise ConfigError(
            f"run={run!r} is not the folder of a training run ({why}); name one that train.py wrote"
        )
    _refuse_overrides(overrides)
    config = read_yaml(folder / "config.yaml", TrainConfig)
    name = config.name or status.get("name") or folder.resolve().name
    exported = step is None and (folder / "export" / "config.json").is_file()
    return Trained(
        config, folder, name, folder / "export" if exported else None,
        int(status.get("step") or 0) if exported else 0,
    )  # fmt: skip


def _refuse_overrides(overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.split("=")[0].lstrip("+~")
        if key.split(".")[0] in _OF_THE_RUN:
            raise ConfigError(
                f"{override} beside run=...: a run is probed with its own model, data and"
                " positions; remove the override, or probe the exported folder instead"
                " (model.path=RUN/export)"
            )


def _status(folder: Path) -> dict[str, Any]:
    path = folder / "status.json"
    try:
        status = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}); delete it") from error
    return status if isinstance(status, dict) else {}


def refuse_other_settings(config: ProbeRunConfig, folder: Path) -> None:
    """Raises ConfigError if the folder holds answers of another configuration."""
    if not (folder / "answers").is_dir() or not (folder / "config.yaml").is_file():
        return
    here, now = _settings(read_yaml(folder / "config.yaml", ProbeRunConfig)), _settings(config)
    changed = [key for key in now if now[key] != here.get(key)]
    if changed:
        raise ConfigError(
            f"{folder} holds answers that were asked with another {', '.join(changed)};"
            " choose another folder (hydra.run.dir=FOLDER)"
        )


def _settings(config: ProbeRunConfig) -> dict[str, Any]:
    settings = {key: value for key, value in plain(config).items() if key not in _FREE}
    settings["answerer"] = {
        key: value for key, value in settings["answerer"].items() if key in _ANSWERS_DEPEND
    }
    settings["probe"] = {
        key: value for key, value in settings["probe"].items() if key not in ("tasks", "bins")
    }
    return settings


def load_model(found: Found) -> tuple[Any, int]:
    """The model on the accelerator if there is one, and the step its weights are of."""
    from fullcontext.model import load

    config = found.config
    run = found.run if found.weights is None else None
    return restore(
        load.load(config.model, config.positions, config.seed, found.weights),
        run,
        config.step,
        found.step,
    )


def restore(model: Any, run: Path | None, wanted: int | None, step: int) -> tuple[Any, int]:
    """The model with the weights of a checkpoint of `run`, or with its own, which are of `step`;
    on the accelerator if there is one. `wanted` None takes the newest checkpoint."""
    import torch

    if run is not None:
        from fullcontext.train.checkpoint import load_weights
        from fullcontext.train.preparation import attach

        own = read_yaml(run / "config.yaml", TrainConfig)
        if own.adapter.is_on:
            attach(model, own, "cuda" if torch.cuda.is_available() else "cpu")
        step = load_weights(model, run, wanted)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), step
