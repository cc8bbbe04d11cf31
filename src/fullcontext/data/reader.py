"""Opens the store of a training run, or says why not and how to make it."""

import shlex
from typing import Any

from fullcontext.compose import ConfigError, option, plain
from fullcontext.config import Filler
from fullcontext.data import manifest, neighbours
from fullcontext.data.table import Store


def open_store(config: Any, tokenizer_hash: str) -> Store:
    """The store of a training config.

    Raises ConfigError, with the command that makes it, if there is none, it was made with another
    tokenizer, segment size or separator, or `data.filler=hard` lacks its neighbours.
    """
    folder = manifest.store_path(config)
    content = manifest.read(folder)
    if content is None:
        raise ConfigError(missing(config))
    there = content["settings"]
    wanted = {
        "segment_size": config.data.segment_size,
        "filler_segment_size": config.data.filler_segment_size,
        "separator": config.data.separator,
        "tokenizer_hash": tokenizer_hash,
    }
    if config.data.store is None:
        wanted["corpus"] = plain(config.corpus)
    differing = [key for key in wanted if there.get(key) != wanted[key]]
    if differing:
        parts = "; ".join(f"{k}: {there.get(k)!r} there, {wanted[k]!r} here" for k in differing)
        raise ConfigError(
            f"{folder} does not fit this run ({parts}); name another with data.store=FOLDER or"
            f" make one: {command(config)}"
        )
    manifest.refuse_damaged(folder, content)
    stored = (k for k in config.data.kinds if k not in ("key_value", "pair"))
    lacking = [k for k in stored if not content["questions"].get(k)]
    if lacking:
        raise ConfigError(
            f"{folder} holds no {', '.join(lacking)} questions, which data.mixture asks for;"
            " set their ratio to 0, or make a store from a larger corpus"
        )
    store = Store(folder, content)
    if config.data.filler is Filler.hard:
        store.neighbours = neighbours.read(store, config.data)
        if store.neighbours is None:
            raise ConfigError(
                f"data.filler=hard needs the neighbours of every question, which {folder} lacks for"
                f" data.hard_neighbours={config.data.hard_neighbours}; find them:"
                f" {command(config)}"
            )
    return store


def missing(config: Any) -> str:
    """What to do when there is no finished store."""
    folder = manifest.store_path(config)
    state = "is not finished (it has no manifest)" if folder.exists() else "does not exist"
    return f"the store {folder} {state}; make it: {command(config)}"


def command(config: Any) -> str:
    """The command that makes the store of a config."""
    data = config.data
    words = [*option("corpus", config.corpus), f"data={data.name}", f"model={config.model.name}"]
    writer = option("writer", config.writer)
    if writer != ["writer=template"]:
        words += writer
    words.append(f"data.segment_size={data.segment_size}")
    if data.filler_segment_size is not None:
        words.append(f"data.filler_segment_size={data.filler_segment_size}")
    if data.filler is Filler.hard:
        words += [
            f"data.filler={data.filler.value}",
            f"data.hard_neighbours={data.hard_neighbours}",
        ]
    if data.separator != "\n":
        words.append(f"data.separator={data.separator!r}")
    if data.store:
        words.append(f"data.store={data.store}")
    return "python synthesize.py " + shlex.join(words)
