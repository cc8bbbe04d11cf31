"""The end of a store: files beyond it go, accounts and card are written, the manifest last."""

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import fullcontext
from fullcontext.compose import ConfigError, plain
from fullcontext.config import ChatInstructions
from fullcontext.data import card, manifest
from fullcontext.data.shards import shard_name
from fullcontext.data.walk import Tally
from fullcontext.data.writers import prompts
from fullcontext.store import MANIFEST, digest, write_aside

if TYPE_CHECKING:
    from fullcontext.data.making import Maker

_LISTED = 20
"""Contaminated documents that the manifest names; all are counted."""


def finish(maker: "Maker", tally: Tally, usage: dict[str, Any], seconds: float) -> None:
    """Writes everything that says what the store holds; after it, the store is complete."""
    folder = maker.folder
    names = _files(maker)
    _remove_others(maker, set(names))
    content = {
        "version": fullcontext.__version__,
        "settings": maker.wanted,
        **_counts(maker, tally),
        **card.accounts(folder, names),
        "files": {name: digest(folder / name) for name in names},
    }
    _refuse_empty(maker, content)
    if usage:
        record = {**usage, "seconds": round(seconds, 1)}
        write_aside(folder / "usage.json", json.dumps(record, indent=1))
    card.write(folder, content)
    write_aside(folder / MANIFEST, manifest.text(content))
    shutil.rmtree(folder / "work")
    for lock in folder.glob(".part-*"):
        lock.unlink()
    sys.stdout.write(f"wrote {folder} in {seconds:.0f} s\n{manifest.describe(content)}\n")
    sys.stdout.flush()


def _files(maker: "Maker") -> list[str]:
    nouns = ["segments", "questions"]
    if maker.config.data.filler_segment_size is not None:
        nouns.append("fillers")
    names = [shard_name(noun, number) for noun in nouns for number in maker.shards]
    extra = range(maker.instruction_shards)
    return names + [shard_name("questions-instructions", number) for number in extra]


def _remove_others(maker: "Maker", kept: set[str]) -> None:
    """Shards that were cut ahead, or by another part, and are not needed."""
    for noun in ("segments", "questions", "fillers"):
        for path in maker.folder.glob(f"{noun}-*.arrow"):
            if path.name not in kept:
                path.unlink()


def _counts(maker: "Maker", tally: Tally) -> dict[str, Any]:
    config = maker.config
    kinds = [kind for kind in config.data.examples if kind != "key_value"]
    external = isinstance(config.instructions, ChatInstructions)
    return {
        "sources": [
            {"name": config.corpus.name, "licence": config.corpus.licence},
            *(
                [{"name": config.instructions.name, "licence": config.instructions.licence}]
                if isinstance(config.instructions, ChatInstructions)
                else []
            ),
        ],
        "writer": {
            **{k: v for k, v in plain(config.writer).items() if k in card.WRITER_KEYS},
            "prompts": None if config.writer.name == "template" else prompts.VERSION,
        },
        "instructions": config.instructions.name if external else config.writer.name,
        "documents": maker.documents,
        "texts": maker.texts,
        "questions": {kind: tally.made[kind] for kind in kinds if config.data.examples[kind]},
        "asked": dict(sorted(tally.asked.items())),
        "filters": {
            name: {"checked": tally.checked[name], "dropped": tally.rejected[name]}
            for name in sorted(tally.checked)
        },
        "dropped": dict(sorted((maker.dropped + tally.dropped).items())),
        "evaluation_sets": _evaluation_sets(maker),
        "contaminated": maker.contaminated[:_LISTED],
    }


def _evaluation_sets(maker: "Maker") -> dict[str, Any] | None:
    """What the corpus was held against; strings below n words can match nothing."""
    if maker.index is None:
        return None
    return {
        "sets": maker.config.filters.decontaminate,
        "words": maker.index.n,
        "different": maker.index.size,
        "strings_too_short": maker.index.too_short,
    }


def _refuse_empty(maker: "Maker", content: dict[str, Any]) -> None:
    if maker.quota and not content["segments"]:
        raise ConfigError(
            f"the corpus {maker.config.corpus.name} gives no segment of"
            f" data.segment_size={maker.config.data.segment_size} tokens"
            f" ({content['dropped']}); lower data.segment_size or name another"
        )
