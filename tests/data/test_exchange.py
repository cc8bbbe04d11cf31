"""A store goes to the hub's format and back without a byte of difference."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import datasets
import pandas
import pytest
import yaml

import fullcontext
from fullcontext.compose import ConfigError
from fullcontext.data import exchange, manifest
from fullcontext.store import MANIFEST, digest, write_aside, write_table

CARD = "# A store\n\nMade for a test.\n"


def segment(number: int) -> dict[str, object]:
    return {
        "id": f"d{number}/0",
        "document": f"d{number}",
        "parent": f"d{number}",
        "source": "Grüße" if number % 2 else "",
        "index": 0,
        "text": f"Text {number}\nwith lines.",
        "tokens": list(range(number % 7)),
    }


def question(number: int) -> dict[str, object]:
    evidence = [f"d{number}/0"] * (number % 3)
    return {
        "id": f"q{number}",
        "kind": "fine_grained" if evidence else "instruction",
        "question": "Why?",
        "answer": f"{number}",
        "evidence": evidence,
        "context": evidence,
        "document": f"d{number}",
        "parent": f"d{number}",
        "source": "",
        "first": number if evidence else -1,
    }


def make(
    folder: Path, licence: str = "MIT", fillers: bool = False, empty: Sequence[int] = (1,)
) -> Path:
    """A store of three shards, of which some have no question."""
    nouns = ["segments", "questions", *(["fillers"] if fillers else [])]
    for noun in nouns:
        for shard in range(3):
            numbers = range(
                5 * shard, 5 * shard + (0 if noun == "questions" and shard in empty else 5)
            )
            rows = [(question if noun == "questions" else segment)(i) for i in numbers]
            write_table(folder / f"{noun}-{shard:05d}.arrow", rows, exchange.SCHEMAS[noun])
    content = {
        "version": fullcontext.__version__,
        "settings": {"corpus": {"name": "test", "licence": licence}},
        "files": {file.name: digest(file) for file in sorted(folder.glob("*.arrow"))},
        "more": {"than": "we know"},
    }
    write_aside(folder / README, exchange.front_matter(content) + CARD)
    write_aside(folder / MANIFEST, manifest.text(content))
    return folder


README = exchange.README


@pytest.mark.parametrize("fillers", [False, True])
def test_there_and_back_every_file_is_the_same(tmp_path: Path, fillers: bool) -> None:
    store = make(tmp_path / "store", fillers=fillers)
    exchange.export(store, tmp_path / "out", (store / README).read_text())
    exchange.load(str(tmp_path / "out"), tmp_path / "back")
    names = sorted(file.name for file in store.iterdir())
    assert names == sorted(file.name for file in (tmp_path / "back").iterdir())
    assert len(names) == (11 if fillers else 8)
    for name in names:
        assert (store / name).read_bytes() == (tmp_path / "back" / name).read_bytes(), name


def test_an_export_opens_with_datasets_and_pandas(tmp_path: Path) -> None:
    exchange.export(make(tmp_path / "store"), tmp_path / "out", CARD)
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == [
        README, MANIFEST, "questions", "segments", exchange.SHARDS
    ]  # fmt: skip
    found = datasets.load_dataset(str(out), "questions", split="train", streaming=True)
    assert [row["id"] for row in found] == [f"q{i}" for i in (0, 1, 2, 3, 4, 10, 11, 12, 13, 14)]
    assert next(iter(datasets.load_dataset(str(out), split="train", streaming=True)))["id"] == "q0"
    frame = pandas.read_parquet(out / "segments")
    assert frame["id"].tolist() == [f"d{i}/0" for i in range(15)]
    assert frame["tokens"][4].tolist() == [0, 1, 2, 3]
    one = pandas.read_parquet(out / "segments" / "segments-00001.parquet")
    assert len(one) == 5


def test_a_store_itself_opens_with_datasets(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    for noun, count in (("segments", 15), ("questions", 10)):
        found = datasets.load_dataset(str(store), noun, split="train", streaming=True)
        assert len(list(found)) == count
    whole = datasets.load_dataset(str(store), "segments", cache_dir=str(tmp_path / "cache"))
    assert whole["train"][14]["text"] == "Text 14\nwith lines."


def test_a_store_without_questions_goes_there_and_back(tmp_path: Path) -> None:
    store = make(tmp_path / "store", empty=range(3))
    exchange.export(store, tmp_path / "out", CARD)
    exchange.load(str(tmp_path / "out"), tmp_path / "back")
    for file in store.iterdir():
        assert (tmp_path / "back" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("licence", "named"),
    [
        ("MIT", {"license": "mit"}),
        ("odc-by", {"license": "odc-by"}),
        ('public: "domain"', {"license": "other", "license_name": 'public: "domain"'}),
    ],
)
def test_the_card_names_licence_and_configs_and_goes_on_as_the_caller_has_it(
    tmp_path: Path, licence: str, named: dict[str, str]
) -> None:
    store = make(tmp_path / "store", licence, fillers=True)
    exchange.export(store, tmp_path / "out", "---\nlicense: gone\n---\n\n" + CARD)
    card = (tmp_path / "out" / README).read_text()
    _, head, rest = card.split("---\n")
    front = yaml.safe_load(head)
    assert named.items() <= front.items()
    assert [(c["config_name"], c["data_files"]) for c in front["configs"]] == [
        (noun, f"{noun}/*.parquet") for noun in ("questions", "segments", "fillers")
    ]
    assert rest == "\n" + CARD


def test_an_export_is_written_to_an_empty_place_only(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(ConfigError, match=r"export=.*full is not empty; empty it or name another"):
        exchange.export(store, tmp_path / "full", CARD)
    (tmp_path / "empty").mkdir()
    exchange.export(store, tmp_path / "empty", CARD)
    assert (tmp_path / "empty" / MANIFEST).exists()
    (store / "segments-00001.arrow").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"damaged: segments-00001.arrow is not as it was"):
        exchange.export(store, tmp_path / "other", CARD)
    (store / MANIFEST).unlink()
    with pytest.raises(ConfigError, match=r"no finished store; run synthesize.py first"):
        exchange.export(store, tmp_path / "other", CARD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full", "store"]


def test_a_changed_export_is_not_loaded(tmp_path: Path) -> None:
    exchange.export(make(tmp_path / "store"), tmp_path / "out", CARD)
    file = tmp_path / "out" / "segments" / "segments-00002.parquet"
    frame = pandas.read_parquet(file)
    frame.loc[3, "text"] = "forged"
    frame.to_parquet(file)
    with pytest.raises(ConfigError, match=r"segments-00002.arrow from .* differs .*fetch it again"):
        exchange.load(str(tmp_path / "out"), tmp_path / "back")
    assert not (tmp_path / "back" / MANIFEST).exists()
    exchange.export(tmp_path / "store", tmp_path / "again", CARD)
    exchange.load(str(tmp_path / "again"), tmp_path / "back")
    assert manifest.damage(tmp_path / "back", manifest.read(tmp_path / "back")) is None


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    with pytest.raises(ConfigError, match=r"store' is no exported store .*lacks"):
        exchange.load(str(store), tmp_path / "back")
    exchange.export(store, tmp_path / "out", CARD)
    with pytest.raises(ConfigError, match=r"store holds a finished store already"):
        exchange.load(str(tmp_path / "out"), store)
    with pytest.raises(ConfigError, match=r"load='me/store' .*hub does not answer"):
        exchange.load("me/store", tmp_path / "back")
    shutil.rmtree(tmp_path / "out" / "questions")
    with pytest.raises(ConfigError, match=r"load"):
        exchange.load(str(tmp_path / "out"), tmp_path / "back")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace('"segments": ', '"segments": 9'), "is not as it was written"),
        (lambda text: "[]", "is no manifest"),
        (lambda text: text[:-5], "is not JSON"),
    ],
)
def test_a_manifest_that_was_edited_is_refused(tmp_path: Path, edit, said: str) -> None:
    content = {"version": fullcontext.__version__, "segments": 1}
    write_aside(tmp_path / MANIFEST, manifest.text(content))
    assert manifest.read(tmp_path) == content
    path = tmp_path / MANIFEST
    path.write_text(edit(path.read_text()))
    with pytest.raises(ConfigError, match=f"{said}.*delete .* run synthesize.py"):
        manifest.read(tmp_path)
