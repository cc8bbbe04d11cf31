"""Stores as data sets of the Hugging Face hub, there and back without a byte of difference."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fullcontext.compose import ConfigError
from fullcontext.data import hub, manifest
from fullcontext.store import MANIFEST, digest, read_table, sync_folder, write_aside

README = "README.md"
_SETTING = hub.Setting(
    path="load", config="a config", split="a split", instead="the folder of an export"
)
SHARDS = "shards.json"
"""Of an export: rows of every shard, which the hub's reader does not tell apart."""

SCHEMAS = {
    "questions": manifest.QUESTION_SCHEMA,
    "segments": manifest.SEGMENT_SCHEMA,
    "fillers": manifest.SEGMENT_SCHEMA,
}
"""What the shards of a store hold, `NOUN-NNNNN.arrow`: each noun is a config of the data set."""

_LICENCES = frozenset(
    [
        "apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
        "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
        "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "odc-by", "odbl",
        "pddl", "gfdl", "unknown",
    ]
)  # fmt: skip
"""Licences that the hub knows by name; any other is written out."""


def front_matter(content: dict[str, Any]) -> str:
    """The head of a store's README.md, from its manifest: what the hub and `datasets` read.

    With it `datasets.load_dataset(FOLDER, "questions")` works on the store as on its export.
    """
    return _front_matter(content, {noun: f"{noun}-*.arrow" for noun in _nouns(content)})


def _front_matter(content: dict[str, Any], files: dict[str, str]) -> str:
    licence = str(content["settings"]["corpus"].get("licence", "unknown"))
    lines = ["---"]
    if licence.lower() in _LICENCES:
        lines.append(f"license: {licence.lower()}")
    else:
        lines += ["license: other", f"license_name: {json.dumps(licence, ensure_ascii=False)}"]
    lines += ["tags: [fullcontext, long-context]", "configs:"]
    for noun, pattern in files.items():
        lines += [f"- config_name: {noun}", f"  data_files: {pattern}"]
        lines += ["  default: true"] if noun == "questions" else []
    return "\n".join([*lines, "---", "", ""])


def body(card: str) -> str:
    """A card without its front matter."""
    if not card.startswith("---\n"):
        return card
    return card.partition("\n---\n")[2].lstrip("\n")


def export(store: Path, out: Path, card: str) -> None:
    """Writes a finished store as a data set folder: Parquet shards, manifest, `card` as README.md.

    The folder appears when it is complete. Raises ConfigError if the store is not finished or is
    damaged, or `out` is not empty.
    """
    content = manifest.read(store)
    if content is None:
        raise ConfigError(f"{store} holds no finished store; run synthesize.py first")
    manifest.refuse_damaged(store, content)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"export={out} is not empty; empty it or name another folder")
    aside = out.with_name(f".{out.name}.{os.getpid()}.aside")
    try:
        rows = {name: _export_shard(store, name, aside) for name in _shards(content)}
        nouns = [noun for noun in _nouns(content) if (aside / noun).exists()]
        head = _front_matter(content, {noun: f"{noun}/*.parquet" for noun in nouns})
        write_aside(aside / README, head + body(card))
        for name in content["files"]:
            if name not in rows and name != README:
                write_aside(aside / name, (store / name).read_bytes())
        write_aside(aside / SHARDS, json.dumps(rows, indent=1))
        write_aside(aside / MANIFEST, (store / MANIFEST).read_bytes())
        if out.exists():
            out.rmdir()
        aside.replace(out)
        sync_folder(out.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _export_shard(store: Path, name: str, aside: Path) -> int:
    table = read_table(store / name)
    if not table.num_rows:
        return 0  # datasets cannot read a Parquet file without rows
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    file = f"{name.removesuffix('.arrow')}.parquet"
    write_aside(aside / _noun(name) / file, sink.getvalue().to_pybytes())
    return int(table.num_rows)


def load(source: str, folder: Path) -> None:
    """Makes the store again that was exported, out of the export's folder or a hub name.

    Every shard is checked against the manifest, which is written last; a load that was broken off
    goes on at the noun where it stopped. Raises ConfigError if there is a store already, the source
    is no export, or a shard differs from the original.
    """
    if (folder / MANIFEST).exists():
        raise ConfigError(f"{folder} holds a finished store already; delete it or name another")
    origin = _origin(source)
    content = manifest.read(origin)
    if content is None or not (origin / SHARDS).exists():
        raise ConfigError(
            f"load={source!r} is no exported store (it lacks {MANIFEST} or {SHARDS}); name a folder"
            " or data set that synthesize.py export=FOLDER has made"
        )
    rows = json.loads((origin / SHARDS).read_text())
    for noun in _nouns(content):
        names = [name for name in _shards(content) if _noun(name) == noun]
        if not all(_is_whole(folder / name, content) for name in names):
            _load_noun(source, noun, {name: rows[name] for name in names}, folder, content)
    card = body((origin / README).read_text())
    write_aside(folder / README, front_matter(content) + card)
    for name in content["files"]:
        if name not in rows and name != README:
            write_aside(folder / name, _fetched(source, name).read_bytes())
    manifest.refuse_damaged(folder, content)
    write_aside(folder / MANIFEST, (origin / MANIFEST).read_bytes())


def _load_noun(
    source: str, noun: str, rows: dict[str, int], folder: Path, content: dict[str, Any]
) -> None:
    tables = hub.tables(source, noun, "train", _SETTING)
    waiting = SCHEMAS[noun].empty_table()
    for name, count in rows.items():
        while len(waiting) < count and (more := next(tables, None)) is not None:
            waiting = pa.concat_tables([waiting, more.cast(SCHEMAS[noun])])
        write_aside(folder / name, _arrow(waiting.slice(0, count)))
        if not _is_whole(folder / name, content):
            raise ConfigError(
                f"{name} from {source} differs from the original ({min(len(waiting), count)} rows"
                f" of {count}): either the data set was changed, or this pyarrow writes other bytes"
                " than the one it was made with; fetch it again, or use the version in its"
                " constraints"
            )
        waiting = waiting.slice(count)


def _arrow(table: pa.Table) -> bytes:
    """The bytes that `store.write_table` writes for these rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue().to_pybytes())


def _is_whole(file: Path, content: dict[str, Any]) -> bool:
    return file.exists() and digest(file) == content["files"][file.name]


def _origin(source: str) -> Path:
    """The folder in which manifest, shard list and card of an export lie on this machine."""
    if hub.is_folder(source):
        return Path(source).expanduser()
    hub.refuse_unreachable(source, _SETTING)
    paths = [_fetched(source, name) for name in (MANIFEST, SHARDS, README)]
    return paths[0].parent


def _fetched(source: str, name: str) -> Path:
    if hub.is_folder(source):
        return Path(source).expanduser() / name
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, name, repo_type="dataset"))
    except Exception as error:  # as many kinds as there are ways not to reach a file
        raise ConfigError(
            f"load={source!r}: {name} cannot be fetched ({type(error).__name__}: {error}); name a"
            " data set that synthesize.py export=FOLDER has made, or such a folder"
        ) from error


def _shards(content: dict[str, Any]) -> list[str]:
    return sorted(name for name in content["files"] if _noun(name) in SCHEMAS)


def _nouns(content: dict[str, Any]) -> Iterator[str]:
    there = {_noun(name) for name in content["files"]}
    return (noun for noun in SCHEMAS if noun in there)


def _noun(name: str) -> str:
    return name.partition("-")[0] if name.endswith(".arrow") else ""
