"""Nothing hides an overlap with an evaluation set, and nothing else is one."""

import gzip
import json
import time
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.compose import ConfigError
from fullcontext.data import decontaminate, words

N = 10
LETTERS = "abcdxyzäéßλσжя漢9"
WORD = st.text(LETTERS, min_size=1, max_size=6)
GAP = st.text(" \n\t.,;:!?-_/'’“”…()[]\u3000", min_size=1, max_size=4)
CASE = st.sampled_from([str, str.upper, str.lower, str.title])


def index_of(*texts: str, folder: Path, n: int = N) -> decontaminate.Index:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "set.jsonl").write_text("".join(json.dumps({"q": t}) + "\n" for t in texts))
    return decontaminate.load([str(folder / "set.jsonl")], n)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets")


@given(data=st.data(), item=st.lists(WORD, min_size=N, max_size=40))
def test_any_ten_words_of_an_item_are_found_anywhere_however_they_are_written(
    folder: Path, data: st.DataObject, item: list[str]
) -> None:
    index = index_of(" ".join(item), folder=folder)
    start = data.draw(st.integers(0, len(item) - N))
    case, before, after = data.draw(CASE), data.draw(st.text()), data.draw(st.text())
    planted = "".join(case(w) + data.draw(GAP) for w in item[start : start + N])
    shared = index.overlap(f"{before}. {planted}. {after}")
    assert shared is not None
    assert shared in " ".join(words.split(" ".join(item)))
    assert len(shared.split()) == N


@given(data=st.data(), item=st.lists(WORD, min_size=N, max_size=40))
def test_nine_words_of_an_item_are_no_overlap(
    folder: Path, data: st.DataObject, item: list[str]
) -> None:
    index = index_of(" ".join(item), folder=folder)
    start = data.draw(st.integers(0, len(item) - N))
    others = st.lists(st.text("uvw", min_size=7, max_size=9), min_size=1, max_size=20)
    text = [*data.draw(others), *item[start : start + N - 1], *data.draw(others)]
    assert index.overlap(" ".join(text)) is None


def test_the_shared_words_are_told(folder: Path) -> None:
    index = index_of("The cat sat on the mat.", folder=folder, n=4)
    assert index.overlap("A dog, a CAT SAT\non... the dog") == "cat sat on the"
    assert index.overlap("the cat sat near the mat") is None
    assert index.overlap("") is None


def test_each_string_of_a_record_stands_alone_and_short_ones_are_counted(tmp_path: Path) -> None:
    record = {"q": "one two three", "a": ["four five six", {"deep": "seven eight nine"}], "n": 5}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + '\n{"q": "too short"}\n')
    index = decontaminate.load([str(tmp_path)], 3)
    assert (index.size, index.texts, index.too_short) == (3, 4, 1)
    assert index.overlap("seven, eight, nine") == "seven eight nine"
    assert index.overlap("two three four five") is None


def test_sets_are_files_and_folders_of_every_kind(tmp_path: Path) -> None:
    def text(number: int) -> str:
        return " ".join(f"{word}{number}" for word in "abcdefghij")

    (tmp_path / "a.txt").write_text(text(0))
    (tmp_path / "b.json").write_text(json.dumps([{"q": text(1)}, [text(2)]], indent=1))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(json.dumps({"q": text(5)}).encode()))
    (tmp_path / "picture.png").write_bytes(b"x")
    pandas.DataFrame({"deep": [[{"q": text(6)}]]}).to_parquet(tmp_path / "e.parquet")
    (tmp_path / "c.json").write_text("".join(json.dumps({"q": text(i)}) + "\n" for i in (3, 4)))
    index = decontaminate.load([str(tmp_path)], N)
    assert [number for number in range(9) if index.overlap(text(number))] == [0, 1, 2, 3, 4, 5, 6]
    assert index.left_out == {"file of another kind (.png)": 1}
    alone = decontaminate.load([str(tmp_path / "a.txt"), str(tmp_path / "e.parquet")], N)
    assert [number for number in range(9) if alone.overlap(text(number))] == [0, 6]


def test_sets_of_the_hub_are_read_by_config_and_split(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    for config in ("qa", "sum"):
        for split in ("dev", "test"):
            (folder / config).mkdir(parents=True, exist_ok=True)
            line = {"q": f"this is {config} {split}"}
            (folder / config / f"{split}.jsonl").write_text(json.dumps(line))
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        + "".join(
            f"- config_name: {c}\n  data_files:\n"
            f"  - {{split: dev, path: {c}/dev.jsonl}}\n  - {{split: test, path: {c}/test.jsonl}}\n"
            for c in ("qa", "sum")
        )
        + "---\n"
    )

    def found(name: str) -> list[str]:
        index = decontaminate.load([name], 4)
        lines = (f"{c} {s}" for c in ("qa", "sum") for s in ("dev", "test"))
        return [line for line in lines if index.overlap(f"this is {line}")]

    assert found(f"{folder}:qa:test") == ["qa test"]
    assert found(f"{folder}:sum") == ["sum dev", "sum test"]
    with pytest.raises(ConfigError, match=r"splits: .*; choose one of them as SPLIT in NAME"):
        found(f"{folder}:qa:train")
    with pytest.raises(ConfigError, match=r"no folder here, and the hub does not answer"):
        found("THUDM/LongBench")


def test_a_set_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    with pytest.raises(ConfigError, match=r"decontaminate: '.*a.jsonl' holds no text"):
        decontaminate.load([str(tmp_path / "a.jsonl")], N)


def test_no_sets_overlap_with_nothing() -> None:
    index = decontaminate.load([], N)
    assert index.size == 0 and index.overlap("any words at all " * 10) is None


def test_the_fingerprint_changes_with_the_words_alone(folder: Path) -> None:
    text = "one two three four"
    index = index_of(text, folder=folder, n=3)
    same = index_of("ONE, two: three...", "two three four", folder=folder, n=3)
    assert index.fingerprint == same.fingerprint
    assert index.fingerprint != index_of(text + " five", folder=folder, n=3).fingerprint
    assert index.fingerprint != index_of(text, folder=folder, n=4).fingerprint
    assert decontaminate.load([], 3).fingerprint != decontaminate.load([], 4).fingerprint


def test_more_than_five_megabytes_of_text_are_searched_in_a_second(folder: Path) -> None:
    item = " ".join(f"item{i}" for i in range(5000))
    index = index_of(item, folder=folder)
    text = " ".join(f"word{i % 9973}" for i in range(600_000))
    words.hashed("the tables are made once")
    start = time.process_time()
    assert index.overlap(text) is None
    assert len(text) / (time.process_time() - start) > 5e6
