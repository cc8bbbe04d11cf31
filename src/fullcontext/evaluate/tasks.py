"""What is to be evaluated, found and built by lm-evaluation-harness before any model is loaded."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import EvaluateConfig
from fullcontext.evaluate import local_data

OWN = Path(__file__).parent / "sub_em"
"""Tasks that lm-evaluation-harness does not have."""
SEED = 1234
"""Draws worked examples; lm-evaluation-harness's own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A task or group of the suite, as it is named there."""

    name: str
    parts: list[Any]
    """lm-eval's task or group objects, as `simple_evaluate` takes them."""
    tasks: dict[str, Any]
    """Name -> every single task of it."""
    shots: int | None


def need_lm_eval() -> None:
    """Raises ConfigError if lm-evaluation-harness is not installed."""
    try:
        import lm_eval.api.model  # noqa: F401 - is it there?
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"evaluate.py needs the package {error.name}; pip install 'fullcontext[eval]'"
        ) from error


def load(config: EvaluateConfig, tokenizer: str | None, finished: Collection[str]) -> list[Entry]:
    """The suite's tasks with their data, those of `finished` entries left out.

    `tokenizer` is the folder that RULER counts tokens with.

    Raises ConfigError in one sentence if lm-eval, a package of a task, a task or its data is not
    here.
    """
    from lm_eval.tasks import TaskManager

    with quiet():
        if config.tasks.include is not None and not Path(config.tasks.include).is_dir():
            raise ConfigError(
                f"tasks.include={config.tasks.include!r} is no folder; name one with lm-eval YAML"
                " files"
            )
        facts = _facts(config, tokenizer)
        own = [str(OWN), *([config.tasks.include] if config.tasks.include is not None else [])]
        # Its own tasks are thousands of files, seconds of work: read only if they are asked for.
        known = TaskManager(include_path=own, include_defaults=False, metadata=facts)
        if not set(config.suite.tasks) <= {*known.all_tasks, *finished}:
            known = TaskManager(include_path=own, metadata=facts)
        folder = Path(config.data_folder) if config.data_folder is not None else None
        with local_data.reachable(folder):
            return [
                Entry(name, [], {}, None)
                if name in finished
                else _entry(known, name, config.suite.shots.get(name))
                for name in dict.fromkeys(config.suite.tasks)
            ]


def _facts(config: EvaluateConfig, tokenizer: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if config.suite.lengths:
        facts["max_seq_lengths"] = list(config.suite.lengths)
    if tokenizer is not None:
        facts["tokenizer"] = tokenizer
    return facts


def _entry(known: Any, name: str, shots: int | None) -> Entry:
    if name not in known.all_tasks:
        raise ConfigError(
            f"suite.tasks: lm-eval knows no task {name!r}; `lm-eval ls tasks` lists them,"
            " tasks.include=FOLDER adds your own"
        )
    try:
        loaded = known.load([name])
    except ConfigError:
        raise
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"the task {name} needs a package that is not here ({reason}); pip install"
            " 'fullcontext[eval]'"
        ) from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"the task {name} cannot be built ({type(error).__name__}: {reason}); give its data"
            " with data_folder=FOLDER, connect to the hub, or leave it out of suite.tasks"
        ) from error
    tasks, groups = loaded["tasks"], loaded.get("groups", {})
    return Entry(name, [groups[name]] if name in groups else list(tasks.values()), tasks, shots)


@contextmanager
def quiet() -> Iterator[None]:
    """lm-eval says what goes wrong; its progress reports would bury ours."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def prompts(entry: Entry, config: EvaluateConfig, template: Any, name: str) -> dict[str, list[Any]]:
    """Task -> its requests, built as `simple_evaluate` will build them again.

    `template` renders a conversation and `name` is the tokenizer's; both only count with
    config.chat_template.
    """
    from lm_eval.evaluator_utils import get_sample_size

    found = {}
    for key, task in entry.tasks.items():
        _set_shots(task, entry.shots)
        task.build_all_requests(
            limit=get_sample_size(task, config.limit),
            apply_chat_template=config.chat_template,
            fewshot_as_multiturn=True,
            chat_template=template if config.chat_template else None,
            tokenizer_name=name if config.chat_template else "",
        )
        found[key] = list(task.instances)
    return found


def _set_shots(task: Any, shots: int | None) -> None:
    own = task.get_config("num_fewshot")
    if shots is not None and own != 0:
        task.set_config(key="num_fewshot", value=shots)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=SEED)
