"""What is evaluated, worked out and checked before a model is loaded; then the model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError, RunInfo, plain, read_yaml
from fullcontext.config import EvaluateConfig
from fullcontext.evaluate import outcome, tasks, texts
from fullcontext.evaluate.room import Room
from fullcontext.evaluate.tasks import Entry
from fullcontext.probe import source
from fullcontext.records import Document

NEW_TOKENS = 256
"""Longest answer of a task that does not say; lm-eval's own."""
_FREE = (
    "threads", "name", "claim", "expected", "reference", "batch_size", "data_folder", "tasks",
)  # fmt: skip
"""Settings that do not change a score: a folder may be continued with others."""


@dataclass(slots=True)
class Plan:
    """Everything that is known before a model is loaded."""

    config: EvaluateConfig
    trained: source.Trained | None
    tokenizer: Any
    room: Room
    entries: list[Entry]
    texts: dict[str, list[Document]]

    @property
    def names(self) -> list[str]:
        return [*(entry.name for entry in self.entries), *self.texts]


def make(config: EvaluateConfig, info: RunInfo) -> Plan:
    """The plan of a run. Raises ConfigError for whatever is missing or does not fit."""
    _refuse_reference(config)
    config, trained = _completed(config, info)
    _refuse_other_settings(config, info.output_dir)
    return _plan(config, trained, info.output_dir)


def _refuse_reference(config: EvaluateConfig) -> None:
    if config.reference is not None and not (Path(config.reference) / "results.json").is_file():
        raise ConfigError(
            f"reference={config.reference!r} has no results.json; name the folder of a finished"
            " evaluation"
        )


def _completed(
    config: EvaluateConfig, info: RunInfo
) -> tuple[EvaluateConfig, source.Trained | None]:
    """The configuration with what a run decides itself."""
    if config.run is None:
        if config.step is not None:
            raise ConfigError(f"step={config.step} needs a run; add run=FOLDER or remove step")
        name = config.endpoint.model if config.endpoint.url else config.model.name
        return replace(config, name=config.name or name), None
    of = source.trained(config.run, config.step, info.overrides)
    given = {override.split("=")[0].lstrip("+") for override in info.overrides}
    own = replace(
        config, model=of.config.model, positions=of.config.positions, name=config.name or of.name,
        precision=config.precision if "precision" in given else of.config.precision,
    )  # fmt: skip
    return own, of


def _refuse_other_settings(config: EvaluateConfig, folder: Path) -> None:
    if not (folder / "tasks").is_dir() or not (folder / "config.yaml").is_file():
        return
    here, now = _settings(read_yaml(folder / "config.yaml", EvaluateConfig)), _settings(config)
    changed = [key for key in now if now[key] != here.get(key)]
    if changed:
        raise ConfigError(
            f"{folder} holds scores with another {', '.join(changed)}; choose another folder"
            " (hydra.run.dir=FOLDER)"
        )


def _settings(config: EvaluateConfig) -> dict[str, Any]:
    settings = {key: value for key, value in plain(config).items() if key not in _FREE}
    settings["suite"] = {
        key: value for key, value in settings["suite"].items() if key not in ("name", "tasks")
    }
    for key in ("concurrency", "timeout_s", "tries"):
        settings["endpoint"].pop(key, None)
    return settings


def _plan(config: EvaluateConfig, trained: source.Trained | None, folder: Path) -> Plan:
    from fullcontext.model import tokenizer as tokenizers

    texts.evaluator_exists(config)
    if config.suite.tasks:
        tasks.need_lm_eval()
        from fullcontext.evaluate import models

        length = models.length(config, config.model.architecture.max_positions)
    else:
        length = config.model.architecture.max_positions
    served = config.endpoint.url is not None
    if served:
        tokenizer = models.endpoint_tokenizer(config.endpoint)
    else:
        tokenizer = tokenizers.load(config.model)
    room = Room(length, config.long, NEW_TOKENS, served)
    kept = _kept_tokenizer(config, tokenizer, folder) if config.suite.lengths else None
    finished = [name for name in config.suite.tasks if outcome.read(folder, name) is not None]
    entries = tasks.load(config, kept, finished) if config.suite.tasks else []
    plan = Plan(config, trained, tokenizer, room, entries, texts.entries(config, tokenizer))
    for entry in entries:
        if entry.name not in finished:
            _check(entry, plan)
    return plan


def _kept_tokenizer(config: EvaluateConfig, tokenizer: Any, folder: Path) -> str:
    """RULER opens a tokenizer by its folder to size its contexts."""
    if tokenizer is None:
        raise ConfigError(
            f"suite={config.suite.name} sizes its contexts in tokens; add endpoint.tokenizer=FOLDER"
        )
    tokenizer.save_pretrained(folder / "tokenizer")
    return str(folder / "tokenizer")


def _check(entry: Entry, plan: Plan) -> None:
    """Raises ConfigError for prompts that do not fit and choices that an endpoint cannot score."""
    from fullcontext.evaluate import models

    config, tokenizer = plan.config, plan.tokenizer
    endpoint = config.endpoint
    if endpoint.url and (endpoint.chat or tokenizer is None):
        scored = [t for t, task in entry.tasks.items() if task.OUTPUT_TYPE != "generate_until"]
        if scored:
            raise ConfigError(
                f"the task {scored[0]} compares log-likelihoods, which takes endpoint.chat=false"
                " and endpoint.tokenizer=FOLDER; add them, or leave the task out"
            )
        if not endpoint.chat and config.chat_template:
            raise ConfigError(
                "chat_template=true needs the template: endpoint.chat=true lets the server apply"
                " it, endpoint.tokenizer=FOLDER applies it here"
            )
    if tokenizer is None or endpoint.chat:
        return
    if config.chat_template and not tokenizer.chat_template:
        raise ConfigError("chat_template=true, but the tokenizer has no chat template; remove it")
    with tasks.quiet():
        asked = tasks.prompts(entry, config, _template(tokenizer), "")
    for task, requests in asked.items():
        plan.room.refuse(task, requests, models.encoder(tokenizer))


def _template(tokenizer: Any) -> Any:
    def render(conversation: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:
        return tokenizer.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )  # fmt: skip

    return render


class Loaded:
    """The model, loaded when it is first needed, and its face towards lm-eval."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._model: tuple[Any, int] | None = None
        self._asked: Any = None

    @property
    def model(self) -> tuple[Any, int]:
        """The model in this process (None for an endpoint), and the step of its weights."""
        if self._model is None:
            self._model = _load(self._plan)
        return self._model

    @property
    def asked(self) -> Any:
        """What lm-eval asks."""
        from fullcontext.evaluate import models

        if self._asked is None:
            plan = self._plan
            if plan.config.endpoint.url is not None:
                self._asked = models.served(plan.config, plan.tokenizer, plan.room)
            else:
                self._asked = models.LocalModel(
                    self.model[0], plan.tokenizer, plan.room, plan.config
                )
        return self._asked


def _load(plan: Plan) -> tuple[Any, int]:
    config, of = plan.config, plan.trained
    if config.endpoint.url is not None:
        return None, 0
    from fullcontext.model import load

    weights = of.weights if of is not None else None
    model = load.load(config.model, config.positions, config.seed, weights)
    run = of.folder if of is not None and weights is None else None
    model, step = source.restore(model, run, config.step, of.step if of is not None else 0)
    return model.eval(), step
