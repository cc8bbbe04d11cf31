"""Records come out of files one at a time, and what is damaged is named by file and line."""

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fullcontext.compose import ConfigError
from fullcontext.data import files

MOST = 1000


def zst(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def jsonl(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def read(file: Path, **fields: str) -> list[tuple[str, files.Record | None]]:
    return list(files.records(file, file.name, fields or None, MOST))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", ".txt"), ("a.TXT.gz", ".txt"), ("a.md.zst", ".md"), ("a.jsonl.gz", ".jsonl"),
        ("c4-train.00000-of-00512.json.gz", ".jsonl"), ("a.ndjson", ".jsonl"),
        ("a.parquet", ".parquet"), ("a.parquet.gz", None), ("a.png", None), ("Makefile", None),
        ("a.gz", None), (".gz", None),
    ],
)  # fmt: skip
def test_a_kind_is_told_by_the_name_packed_or_not(name: str, kind: str | None) -> None:
    assert files.kind(Path(name)) == kind


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".zst", zst)])
def test_packed_files_are_read_like_plain_ones(tmp_path: Path, suffix: str, pack) -> None:
    (tmp_path / f"a.txt{suffix}").write_bytes(pack("﻿Über\r\nuns\n".encode()))
    (tmp_path / f"a.jsonl{suffix}").write_bytes(pack(jsonl("one", "zwei – drei") + b"\n"))
    assert files.text(tmp_path / f"a.txt{suffix}", MOST) == "Über\nuns\n"
    rows = read(tmp_path / f"a.jsonl{suffix}")
    name = f"a.jsonl{suffix}"
    assert rows == [(f"{name}:1", {"text": "one"}), (f"{name}:2", {"text": "zwei – drei"})]


def test_gzip_files_of_several_members_are_read_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl("one")) + gzip.compress(jsonl("two")))
    assert [record for _, record in read(tmp_path / "a.jsonl.gz")] == [
        {"text": "one"},
        {"text": "two"},
    ]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zst)])
def test_packed_files_that_break_off_are_named_with_the_line(
    tmp_path: Path, suffix: str, pack
) -> None:
    whole = pack(jsonl(*[f"line {i} {os.urandom(50).hex()}" for i in range(20000)]))
    file = tmp_path / f"a.jsonl{suffix}"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"a\.jsonl\.\w+:\d+ cannot be read \(.*fetch it again"):
        read(file)
    for content in (b"", b"never packed"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"a\.jsonl\.\w+:1 cannot be read"):
            read(file)


def test_lines_that_are_no_json_objects_are_named(tmp_path: Path) -> None:
    for content, why in ((b"nonsense", "is not JSON"), (b"[1]", "is not a JSON object")):
        (tmp_path / "a.jsonl").write_bytes(jsonl("fine") + content)
        with pytest.raises(ConfigError, match=rf"a\.jsonl:2 {why}.*correct or remove"):
            read(tmp_path / "a.jsonl")


def test_lines_too_long_for_any_text_are_passed_over_without_being_read(tmp_path: Path) -> None:
    endless = b'{"text": "' + b"x" * (3 << 20) + b'"}\n'
    (tmp_path / "a.jsonl").write_bytes(jsonl("one") + endless + jsonl("three"))
    rows = read(tmp_path / "a.jsonl")
    assert rows == [
        ("a.jsonl:1", {"text": "one"}),
        ("a.jsonl:2", None),
        ("a.jsonl:3", {"text": "three"}),
    ]


def test_texts_too_long_are_known_by_their_size(tmp_path: Path) -> None:
    for name, content, kept in (
        ("a.txt", b"x" * 1000, True),
        ("b.txt", b"x" * 1001, False),
        ("c.txt", "ä".encode() * 1000, True),
        ("d.txt.gz", gzip.compress(b"x" * (5 << 20)), False),
        ("e.txt", b"x" * (5 << 20), False),
    ):
        (tmp_path / name).write_bytes(content)
        assert (files.text(tmp_path / name, MOST) is not None) == kept, name


def test_parquet_is_read_by_column_and_nested_columns_by_their_path(tmp_path: Path) -> None:
    table = pa.table({
        "text": [f"t{i}" for i in range(200)],
        "meta": [{"url": f"u{i}", "n": i} for i in range(200)],
        "huge": ["x"] * 200,
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=70)
    rows = read(tmp_path / "a.parquet", text="text", source="meta.url")
    assert len(rows) == 200
    assert rows[199] == ("a.parquet:200", {"text": "t199", "meta": {"url": "u199"}})
    assert files.value(rows[3][1], "meta.url", "here", "key") == "u3"
    with pytest.raises(ConfigError, match=r"key='body' is not in a.parquet; .*: text, meta\.url"):
        read(tmp_path / "a.parquet", key="body")


@pytest.mark.parametrize("cut", [3, 200])
def test_parquet_files_that_break_off_are_named(tmp_path: Path, cut: int) -> None:
    pq.write_table(pa.table({"text": ["t" * 500]}), tmp_path / "whole")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "whole").read_bytes()[:-cut])
    with pytest.raises(ConfigError, match=r"a\.parquet:1 cannot be read"):
        read(tmp_path / "a.parquet")


def test_damage_inside_a_parquet_file_is_named_with_the_row(tmp_path: Path) -> None:
    table = pa.table({"text": [os.urandom(300).hex() for _ in range(400)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100, use_dictionary=False)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 5000] = b"\xff" * 5000
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.parquet:\d+ cannot be read"):
        read(tmp_path / "a.parquet")


def test_a_dot_in_a_name_is_the_field_of_a_field_unless_there_is_a_field_of_that_name() -> None:
    record = {"a.b": 1, "a": {"b": 2, "c": 3}, "none": None}
    assert files.value(record, "a.b", "here", "key") == 1
    assert files.value(record, "a.c", "here", "key") == 3
    assert files.value(record, "none.x", "here", "key") is None
    with pytest.raises(ConfigError, match=r"key='a\.d' is not in here; its fields are: a\.b, a\.b"):
        files.value(record, "a.d", "here", "key")


def test_what_is_not_read_is_told_apart(tmp_path: Path) -> None:
    for name in ("b/two.md", "a.txt", "picture.png", ".git/x.txt", "_SUCCESS"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    found = files.found(str(tmp_path), "corpus.path")
    assert [found.name(file) for file in found.files] == ["a.txt", "b/two.md"]
    assert {found.name(file): why for file, why in found.others} == {
        ".git/x.txt": "hidden file",
        "_SUCCESS": "file of another kind (no suffix)",
        "gone.txt": "broken link or no regular file",
        "picture.png": "file of another kind (.png)",
    }


@contextmanager
def without_rights() -> Iterator[Path]:
    """A folder that belongs to us, as seen by somebody whom rights bind (root they do not)."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        try:
            yield Path(name)
        finally:
            os.seteuid(os.getuid())


def test_files_and_folders_one_may_not_read_are_named() -> None:
    with without_rights() as folder:
        (folder / "shut").mkdir()
        for file in (folder / "a.jsonl", folder / "a.parquet", folder / "a.txt.gz"):
            file.write_text("x")
            file.chmod(0)
        (folder / "shut").chmod(0)
        if os.geteuid() == 0:
            os.seteuid(65534)
        for file in (folder / "a.jsonl", folder / "a.parquet"):
            with pytest.raises(ConfigError, match=r"a\.\w+:1 cannot be read .*mend its rights"):
                read(file)
        with pytest.raises(ConfigError, match=r"a\.txt\.gz cannot be read .*mend its rights"):
            files.text(folder / "a.txt.gz", MOST)
        with pytest.raises(ConfigError, match=r"corpus.path=.* cannot be listed .*mend its rights"):
            files.found(str(folder), "corpus.path")
