"""Turns YAML plus overrides into one typed config; the only module that sees a DictConfig."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from fullcontext import config as schema

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: its folders experiments/, sweeps/ and slurm/ are config groups."""

VERBS = {
    "synthesize": schema.SynthesizeConfig,
    "train": schema.TrainConfig,
    "probe": schema.ProbeRunConfig,
    "evaluate": schema.EvaluateConfig,
    "improve": schema.ImproveConfig,
    "adapt": schema.AdaptConfig,
    "report": schema.ReportConfig,
}

_OPTIONS: dict[str, dict[str, type[Any]]] = {
    "corpus": {
        "sotu": schema.SotuCorpus,
        "files": schema.FilesCorpus,
        "hub": schema.HubCorpus,
    },
    "writer": {
        "template": schema.TemplateWriter,
        "openai": schema.OpenAIWriter,
        "local": schema.LocalWriter,
    },
    "judge": {
        "none": schema.NoJudge,
        "openai": schema.OpenAIJudge,
        "local": schema.LocalJudge,
    },
    "filters": {"default": schema.FiltersConfig},
    "instructions": {
        "written": schema.WrittenInstructions,
        "chat": schema.ChatInstructions,
    },
    "objective": {"sft": schema.SftConfig, "orpo": schema.OrpoConfig, "dpo": schema.DpoConfig},
    "probe": {"custom": schema.ProbeConfig, "replay": schema.ReplayConfig},
    "documents": {
        "given": schema.GivenDocuments,
        "key_value": schema.KeyValueDocuments,
        "loogle": schema.LoogleDocuments,
    },
    "prompts": {"own": schema.OwnPrompts, "musique": schema.MusiquePrompts},
    "sampler": {"local": schema.LocalSampler, "openai": schema.OpenAISampler},
    "utility": {
        "rouge_l": schema.RougeUtility,
        "token_f1": schema.TokenF1Utility,
        "embedding": schema.EmbeddingUtility,
        "self_eval": schema.SelfEvalUtility,
    },
    "answerer": {"local": schema.LocalAnswerer, "openai": schema.OpenAIAnswerer},
}
"""Groups whose options differ in their *fields*: the dataclass is the option."""

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be run, said in one sentence with its remedy."""

    is_own = False
    """Whether it concerns this rank alone; others are said once a machine, not by every rank."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What Hydra decided about this run."""

    output_dir: Path
    choices: dict[str, str]
    """Config group -> chosen option; without those of Hydra, and `sweeps/scaled`, which follows
    from two of them."""
    overrides: list[str]


@cache
def register() -> None:
    """Makes the schemas and the resolvers known to Hydra; call before `@hydra.main`."""
    store = ConfigStore.instance()
    for verb, node in VERBS.items():
        store.store(name=f"{verb}_schema", node=node)
    for group, options in _OPTIONS.items():
        for name, option in options.items():
            store.store(group=group, name=name, node=option)
    OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)
    OmegaConf.register_new_resolver("options", _options, replace=True)
    OmegaConf.register_new_resolver("first", _first, replace=True)
    OmegaConf.register_new_resolver("started", _started, replace=True, use_cache=True)


def _started(form: str) -> str:
    """The time, for folder names: the same on all ranks that were started together."""
    from fullcontext.launch import first_said

    return first_said(f"started {form}", datetime.now().strftime(form))


def _first(*given: Any) -> Any:
    return next(value for value in given if value is not None)


def _options(folder: str) -> str:
    return ", ".join(sorted(path.stem for path in (ROOT / folder).glob("*.yaml")))


def typed(cfg: DictConfig, kind: type[T]) -> T:
    """The composed config as plain dataclasses.

    Raises ConfigError if a value is out of range, a mandatory one is missing, or the config holds
    a key that no dataclass declares (`+experiment=x` would otherwise run the baseline in silence).
    """
    try:
        config = OmegaConf.to_object(cfg)
        known = OmegaConf.structured(config)
    except MissingMandatoryValue as error:
        key = error.full_key or error.key
        raise ConfigError(f"{key} is not given; add {key}=...") from error
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(str(error).split("\n    full_key")[0]) from error
    given = OmegaConf.to_container(cfg)
    unknown = sorted(_paths(given) - _paths(OmegaConf.to_container(known)))
    if unknown:
        hints = [hint(key) for key in unknown]
        raise ConfigError(f"unknown config keys: {', '.join(unknown)}; {'; '.join(hints)}")
    if not isinstance(config, kind):
        raise ConfigError(f"this config is a {type(config).__name__}, not a {kind.__name__}")
    return config


def typed_point(cfg: DictConfig, verb: str) -> Any:
    """The typed config of a point of a sweep, with Hydra's own node left out.

    None if it cannot be run, or the verb has no config of its own: its job will say what it lacks.
    """
    own = deepcopy(cfg)
    with read_write(own), open_dict(own):
        del own["hydra"]
    try:
        return typed(own, VERBS[verb]) if verb in VERBS else None
    except ConfigError:
        return None


PLURALS = {"experiment": "experiments", "sweep": "sweeps"}


def hint(key: str) -> str:
    if key in PLURALS:
        plural = PLURALS[key]
        return f"write {plural}=NAME (plural, no +); there are: {_options(plural)}"
    return f"remove {key} or correct its spelling (--cfg job prints every key)"


def _paths(tree: Any, prefix: str = "") -> set[str]:
    if not isinstance(tree, dict) or not tree:
        return {prefix}
    return {
        path for key, value in tree.items() for path in _paths(value, f"{prefix}.{key}".lstrip("."))
    }


def run_info() -> RunInfo:
    """Where Hydra put this run and which options were chosen; only inside `@hydra.main`."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    choices = {
        str(group): str(option)
        for group, option in hydra.runtime.choices.items()
        if option is not None and not str(group).startswith(("hydra", "sweeps/"))
    }
    return RunInfo(Path(hydra.runtime.output_dir), choices, list(hydra.overrides.task))


def plain(config: Any) -> dict[str, Any]:
    """A typed config as dicts, lists, strings and numbers, fit for YAML and JSON."""

    def simple(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: simple(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [simple(item) for item in value]
        return value.value if isinstance(value, Enum) else value

    return cast(dict[str, Any], simple(asdict(config)))


def write_yaml(config: Any, path: Path) -> None:
    """Writes a typed config so that `read_yaml` gives it back."""
    from fullcontext.store import write_aside

    write_aside(path, OmegaConf.to_yaml(OmegaConf.create(plain(config))))


def read_yaml(path: Path, kind: type[T]) -> T:
    """A typed config back from the YAML of a run folder.

    Raises ConfigError when the file was written by a version with other keys.
    """
    return read_plain(OmegaConf.load(path), kind, path)


def read_plain(tree: Any, kind: type[T], path: Path) -> T:
    """A typed config back from what `plain` made of it, read from `path`; keys that an earlier
    version lacked take their defaults. Raises ConfigError as `read_yaml` does."""
    cfg = OmegaConf.create(tree)
    assert isinstance(cfg, DictConfig)
    base = OmegaConf.structured(kind)
    for group, options in _OPTIONS.items():
        if group in cfg and group in kind.__dataclass_fields__:  # type: ignore[attr-defined] # a dataclass
            base[group] = OmegaConf.structured(options[_kind_of(group, cfg[group])])
    try:
        return typed(cast(DictConfig, OmegaConf.merge(base, cfg)), kind)
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"{path} does not fit this version of fullcontext: {str(error).splitlines()[0]};"
            " use the version named in commit.txt beside it"
        ) from error


def _kind_of(group: str, node: DictConfig) -> str:
    """The option with the fewest fields that has those of `node`: a run folder stores values, not
    classes, and one of an earlier version lacks what was added since."""
    keys = set(node)
    fitting = {
        name: len(option.__dataclass_fields__)
        for name, option in _OPTIONS[group].items()
        if keys <= set(option.__dataclass_fields__)
    }
    if not fitting:
        raise ConfigError(f"{group} with the keys {sorted(map(str, keys))} is of no known kind")
    return min(fitting, key=lambda name: fitting[name])


def option(group: str, config: Any) -> list[str]:
    """`corpus=files corpus.path=texts`: the words that choose an option, and what differs."""
    path = ROOT / "conf" / group / f"{config.name}.yaml"
    usual = {f.name: f.default for f in fields(config) if f.default is not MISSING}
    if path.exists():
        loaded = OmegaConf.load(path)
        assert isinstance(loaded, DictConfig)
        usual |= {str(key): value for key, value in loaded.items() if key != "defaults"}
    differing = {k: v for k, v in plain(config).items() if k != "name" and usual.get(k) != v}
    given = ((k, "null" if v is None else v) for k, v in differing.items())
    return [f"{group}={config.name}", *(f"{group}.{key}={value}" for key, value in given)]


def compose_verb(verb: str, overrides: Iterable[str] = ()) -> Any:
    """The typed config of a verb outside a script: tests, notebooks, other verbs."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register()
    current = GlobalHydra.instance()
    outer, current.hydra = current.hydra, None  # within a verb Hydra is at work already
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return typed(compose(verb, overrides=list(overrides)), VERBS[verb])
    finally:
        current.hydra = outer
