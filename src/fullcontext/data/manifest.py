"""What a store is made of: its folder, its schema and its manifest, which is written last."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

import fullcontext
from fullcontext.compose import ConfigError, plain
from fullcontext.config import JudgeConfig, SynthesizeConfig, TemplateWriter
from fullcontext.data import corpus
from fullcontext.data.tokens import Encoder
from fullcontext.data.writers import load as writers
from fullcontext.store import MANIFEST, differences, digest, fingerprint

SEGMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("document", pa.string()), ("parent", pa.string()),
        ("source", pa.string()), ("index", pa.int32()), ("text", pa.string()),
        ("tokens", pa.list_(pa.int32())),
    ]
)  # fmt: skip
"""Of `segments-NNNNN.arrow`, and of `fillers-NNNNN.arrow` where filler has a size of its own."""
QUESTION_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("kind", pa.string()), ("question", pa.string()),
        ("answer", pa.string()), ("evidence", pa.list_(pa.string())),
        ("context", pa.list_(pa.string())), ("document", pa.string()), ("parent", pa.string()),
        ("source", pa.string()), ("first", pa.int32()),
    ]
)  # fmt: skip
"""Of `questions-NNNNN.arrow`. `first` is the row of the document's first segment in
`segments-NNNNN.arrow`, so that segment `ID/7` is row `first + 7`; -1 for instructions."""


def store_path(config: Any) -> Path:
    """The store of a config with `data`, `corpus`, `model` and `writer` in it."""
    if config.data.store:
        return Path(config.data.store)
    named = config.model.tokenizer.rstrip("/").split("/")[-1]
    source = config.corpus.name
    if source in ("files", "hub"):
        source += "-" + Path(config.corpus.path).stem
    writer = config.writer.name
    if not isinstance(config.writer, TemplateWriter):
        writer = Path(writers.model_name(config.writer)).name
    name = f"{source}-{writer}-{named}-{config.data.segment_size}"
    if config.data.filler_segment_size is not None:
        name += f"-filler{config.data.filler_segment_size}"
    return Path("outputs/stores") / name


def settings(
    config: SynthesizeConfig, encoder: Encoder, decontaminated: str | None
) -> dict[str, Any]:
    """Everything the content of a store depends on; `decontaminated` is the fingerprint of the
    evaluation sets."""
    judge = _replying(config.judge) if config.filters.needs_judge else None
    return {
        "corpus": plain(config.corpus),
        "corpus_files": corpus.listing(config.corpus),
        "instructions": plain(config.instructions),
        "segment_size": config.data.segment_size,
        "filler_segment_size": config.data.filler_segment_size,
        "separator": config.data.separator,
        "examples": {k: v for k, v in config.data.examples.items() if k != "key_value"},
        "tokenizer": config.model.tokenizer,
        "tokenizer_hash": tokenizer_hash(encoder),
        "writer": writers.version(config.writer),
        "judge": judge,
        "filters": plain(config.filters),
        "decontaminated": decontaminated,
        "seed": config.seed,
    }


def _replying(judge: JudgeConfig) -> dict[str, Any]:
    """What of a judge's settings changes its replies: neither its address nor its budget."""
    kept = ("name", "model", "path", "temperature", "top_p", "max_new_tokens")
    return {key: value for key, value in plain(judge).items() if key in kept}


def tokenizer_hash(encoder: Encoder) -> str:
    """Equal for tokenizers that give equal ids."""
    return fingerprint(json.loads(encoder.tokenizer.backend_tokenizer.to_str()))


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished store, or None."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is not JSON ({error}); delete {folder} and run synthesize.py"
        ) from error
    if not isinstance(manifest, dict):
        raise ConfigError(f"{path} is no manifest; delete {folder} and run synthesize.py")
    if manifest.get("version", "").split(".")[:2] != fullcontext.__version__.split(".")[:2]:
        raise ConfigError(
            f"{folder} was written by fullcontext {manifest.get('version')}, this is"
            f" {fullcontext.__version__}; delete the folder and run synthesize.py again"
        )
    if manifest.pop("whole", None) != fingerprint(manifest):
        raise ConfigError(f"{path} is not as it was written; delete {folder} and run synthesize.py")
    return manifest


def text(content: dict[str, Any]) -> str:
    """What is written of a manifest: with a hash of itself, since people edit JSON."""
    return json.dumps({**content, "whole": fingerprint(content)}, indent=1, ensure_ascii=False)


def damage(folder: Path, content: dict[str, Any]) -> str | None:
    """What is wrong with the files of a finished store, or None."""
    for name, expected in content["files"].items():
        if not (folder / name).exists():
            return f"{name} is missing"
        if digest(folder / name) != expected:
            return f"{name} is not as it was written"
    return None


def refuse_damaged(folder: Path, content: dict[str, Any]) -> None:
    """Raises ConfigError naming the first file of a finished store that is missing or changed."""
    fault = damage(folder, content)
    if fault:
        raise ConfigError(
            f"the store {folder} is damaged: {fault}; delete the folder and run synthesize.py"
        )


def refuse_other(folder: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ConfigError naming every setting in which a store differs from what is wanted."""
    differing = differences({key: there.get(key) for key in wanted}, wanted)
    if differing:
        parts = "; ".join(f"{k}: {old!r} there, {new!r} here" for k, old, new in differing)
        if any(key == "corpus_files" for key, _, _ in differing):
            parts = f"its files have other names, sizes or times; {parts}"
        raise ConfigError(
            f"{folder} holds a store made with other settings ({parts});"
            " choose another folder with data.store=FOLDER, or delete this one"
        )


def describe(manifest: dict[str, Any]) -> str:
    """What a store holds, in a few lines."""
    sizes = manifest["segment_tokens"]
    wanted = manifest["settings"]["examples"]
    spread = (
        f" of {sizes['mean']} tokens on average (median {sizes['median']:.0f}, 95 % up to"
        f" {sizes['p95']:.0f})"
        if "mean" in sizes
        else ""
    )
    lines = [
        f"  {manifest['documents']:,} documents, {manifest['texts']:,} texts,"
        f" {manifest['segments']:,} segments{spread}"
    ]
    lines += [
        f"  {kind}: {made:,} questions of {wanted[kind]:,} wanted"
        for kind, made in manifest["questions"].items()
    ]
    lines += [
        f"  filter {name}: {counts['dropped']:,} of {counts['checked']:,} dropped"
        for name, counts in manifest["filters"].items()
    ]
    lines += [f"  {reason}: {count:,}" for reason, count in manifest["dropped"].items()]
    return "\n".join(lines)
