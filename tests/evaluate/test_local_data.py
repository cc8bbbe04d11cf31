import json
from pathlib import Path

import datasets
import pytest

from fullcontext.compose import ConfigError
from fullcontext.evaluate import local_data


def put(path: Path, *questions: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        datasets.Dataset.from_list([{"q": q} for q in questions]).to_parquet(str(path))
    else:
        path.write_text("".join(json.dumps({"q": q}) + "\n" for q in questions))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("easy", ["a/b/easy/test.jsonl"]),
        ("easy", ["a__b/easy/test.json"]),
        ("easy", ["a/b/easy/test-00000-of-00001.parquet"]),
        ("easy", ["a/b/data/easy/test.jsonl"]),
        ("easy", ["a/b/test.jsonl"]),
        (None, ["a/b/test.jsonl"]),
        (None, ["a/b/data/test-00000-of-00002.parquet", "a/b/data/test-00001-of-00002.parquet"]),
    ],
)
def test_files_are_found_where_the_docs_say(tmp_path, name, files):
    for file in files:
        put(tmp_path / file, "x", "y")
    with local_data.reachable(tmp_path):
        found = datasets.load_dataset("a/b", name)
    assert found["test"]["q"] == ["x", "y"] * len(files)


def test_another_configurations_files_are_not_taken(tmp_path):
    put(tmp_path / "a" / "b" / "easy" / "test.jsonl", "x")
    put(tmp_path / "a" / "b" / "test.jsonl", "y")
    assert local_data.splits(tmp_path, "a/b", "easy")["test"][0].endswith("easy/test.jsonl")


def test_a_missing_data_set_is_said_with_its_place(tmp_path):
    with local_data.reachable(tmp_path), pytest.raises(ConfigError) as caught:
        datasets.load_dataset("a/b", "hard")
    said = str(caught.value)
    assert "the data set a/b (hard) is not on this machine" in said
    assert f"put its splits at {tmp_path}/a/b/hard/test.jsonl" in said


def test_the_loader_is_as_it_was_afterwards(tmp_path):
    before = datasets.load_dataset, datasets.config.HF_HUB_OFFLINE
    with local_data.reachable(tmp_path):
        assert datasets.load_dataset is not before[0]
    assert (datasets.load_dataset, datasets.config.HF_HUB_OFFLINE) == before
