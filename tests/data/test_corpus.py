"""Documents are the same whatever holds them, lazily read, and every one left out is counted."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pandas
import pytest

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import FilesCorpus, HubCorpus, SotuCorpus
from fullcontext.data import corpus
from fullcontext.records import Document


def read(config) -> tuple[list[Document], Counter[str]]:
    skipped: Counter[str] = Counter()
    return list(corpus.read(config, 0, skipped)), skipped


def lines(file: Path, *records: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_text_jsonl_and_parquet_give_the_same_documents(tmp_path: Path) -> None:
    texts = ["First text.\n\nMore.", "Zweiter Text – mit Umlauten: äöü.", "", "bin\x00ary"]
    places = [tmp_path / name for name in ("b.jsonl", "c.parquet", "d.jsonl.gz")]
    lines(places[0], *[{"text": t} for t in texts])
    pandas.DataFrame({"text": texts}).to_parquet(places[1])
    places[2].write_bytes(gzip.compress(places[0].read_bytes()))
    for place in places:
        found, skipped = read(FilesCorpus(path=str(place)))
        assert [d.text for d in found] == texts[:2]
        assert skipped == {"empty document": 1, "binary document": 1}
    (tmp_path / "a.txt").write_text(texts[0])
    found, skipped = read(FilesCorpus(path=str(tmp_path)))
    assert [d.id for d in found] == ["a.txt", "b.jsonl:2"]
    assert skipped == {"empty document": 3, "binary document": 3, "duplicate document": 5}


def test_documents_carry_id_source_and_licence(tmp_path: Path) -> None:
    lines(
        tmp_path / "x" / "a.jsonl",
        {"text": "t", "key": 7, "meta": {"url": "https://www.bbc.co.uk/news/1"}},
        {"text": "u", "key": "8", "meta": {"url": "Reuters"}},
        {"text": "v", "key": 9, "meta": {"url": None}},
    )
    (tmp_path / "x" / "poems").mkdir()
    (tmp_path / "x" / "poems" / "b.txt").write_text("w")
    (tmp_path / "x" / "c.txt").write_text("z")
    config = FilesCorpus(
        path=str(tmp_path / "x"), id_field="key", source_field="meta.url", licence="CC0"
    )
    found, _ = read(config)
    assert {d.id: (d.source, d.parent, d.licence) for d in found} == {
        "7": ("bbc.co.uk", "7", "CC0"),
        "8": ("Reuters", "8", "CC0"),
        "9": ("a.jsonl", "9", "CC0"),
        "poems/b.txt": ("poems", "poems/b.txt", "CC0"),
        "c.txt": ("files", "c.txt", "CC0"),
    }


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.nytimes.com/2019/a?b=c", "nytimes.com"),
        ("http://User@Example.ORG:8080/x", "example.org"),
        ("Lincoln", "Lincoln"),
        ("www.x.org/no-scheme", "www.x.org/no-scheme"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_a_url_counts_by_its_host(url: str, host: str) -> None:
    assert corpus.host(url) == host


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Fine.", None),
        (" \n\t", "empty document"),
        ("a\x00b", "binary document"),
        ("\x1b[31m" * 3 + "x" * 100, "binary document"),
        ("\x1b" + "x" * 99, None),
        ("\t\r\n\x0c\x85" * 9, "empty document"),
        ("x\t\r\n\x0c\x85" * 9, None),
        ("�" * 2 + "x" * 198, None),
        ("�" * 3 + "x" * 197, "mis-encoded document"),
        ("x" * 1000, None),
        ("x" * 1001, "document of more than 1,000 characters"),
        (None, "document of more than 1,000 characters"),
    ],
)
def test_what_is_no_text_is_told_by_reason(text: str | None, fault: str | None) -> None:
    assert corpus.fault_of(text, 1000) == fault


def test_latin_1_read_as_utf_8_and_endless_documents_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Füße über Äcker".encode("latin-1"))
    (tmp_path / "b.txt").write_text("x" * 5000)
    lines(tmp_path / "c.jsonl", {"text": "y" * 1001}, {"text": "y" * 3_000_000}, {"text": "y"})
    found, skipped = read(FilesCorpus(path=str(tmp_path), max_characters=1000))
    assert [d.id for d in found] == ["c.jsonl:3"]
    assert skipped == {"mis-encoded document": 1, "document of more than 1,000 characters": 3}


def test_half_characters_of_json_are_joined_or_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "\\ud83d\\ude00 smile"}\n{"text": "' + "x" * 99 + '\\ud83d"}\n'
    )
    found, _ = read(FilesCorpus(path=str(tmp_path)))
    assert [d.text for d in found] == ["😀 smile", "x" * 99 + "�"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_field": "body"}, r"corpus.text_field='body' is not in .+?; .*: text, key, meta.n"),
        ({"id_field": "id"}, r"corpus.id_field='id' is not in .+?; .*: text, key"),
        ({"source_field": "meta.url"}, r"corpus.source_field='meta.url' is not in .*meta.n"),
        ({"id_field": "key"}, r"corpus.id_field='key' is empty in .+?; .*or null to number them"),
        ({"text_field": "meta"}, r"corpus.text_field='meta' holds a dict in .*not text; name ano"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hub"])
def test_wrong_fields_are_refused_with_those_there_are(
    tmp_path: Path, kind: str, fields: dict[str, str], message: str
) -> None:
    record = {"text": "t", "key": None, "meta": {"n": 1}}
    if kind == "parquet":
        pandas.DataFrame([record]).to_parquet(tmp_path / "a.parquet")
    else:
        lines(tmp_path / "a.jsonl", record)
    make = HubCorpus if kind == "hub" else FilesCorpus
    with pytest.raises(ConfigError, match=message):
        read(make(path=str(tmp_path), **fields))


def test_reading_is_lazy(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "first"}\nnonsense that is never reached\n')
    first = next(iter(corpus.read(FilesCorpus(path=str(tmp_path)), 0, Counter())))
    assert first.text == "first"
    assert len(read(FilesCorpus(path=str(tmp_path), max_documents=1))[0]) == 1


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    lines(folder / "en" / "train.jsonl", *[{"text": f"en {i}", "url": f"http://h{i % 2}.org/x"}
                                           for i in range(5)])  # fmt: skip
    lines(folder / "en" / "test.jsonl", {"text": "en test"})
    lines(folder / "de" / "train.jsonl", {"text": "de 0"}, {"text": ""})
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files:\n"
        "  - {split: train, path: en/train.jsonl}\n  - {split: test, path: en/test.jsonl}\n"
        "- config_name: de\n  data_files: de/train.jsonl\n---\n"
    )
    return folder


def test_a_data_set_of_the_hub_is_read_by_config_and_split(hub: Path) -> None:
    found, skipped = read(HubCorpus(path=str(hub), config="de"))
    assert [(d.id, d.text, d.source) for d in found] == [("0", "de 0", "hub")]
    assert skipped == {"empty document": 1}
    config = HubCorpus(path=str(hub), config="en", source_field="url", id_field="text")
    assert [(d.id, d.source) for d in read(config)[0]][:2] == [
        ("en 0", "h0.org"),
        ("en 1", "h1.org"),
    ]
    assert len(read(HubCorpus(path=str(hub), config="en", split="test"))[0]) == 1


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [
        (
            "fr",
            "train",
            r"corpus.path=.*'fr' not found.*\['en', 'de'\]; .* as corpus.config",
        ),
        (
            None,
            "train",
            r"Config name is missing.*\['en', 'de'\].*; .* as corpus.config",
        ),
        (
            "en",
            "dev",
            r"Bad split: dev. Available splits: \['train', 'test'\]; .* as corpus.split",
        ),
    ],
)
def test_wrong_configs_and_splits_are_refused_with_those_there_are(
    hub: Path, config: str | None, split: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(HubCorpus(path=str(hub), config=config, split=split))


def test_without_a_network_the_hub_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"'allenai/c4' .*the hub does not answer.*corpus=sotu"):
        read(compose_verb("synthesize", ["corpus=c4_realnewslike"]).corpus)


def test_the_papers_corpus_counts_urls_by_host() -> None:
    config = compose_verb("synthesize", ["corpus=c4_realnewslike"]).corpus
    assert (config.path, config.config, config.source_field) == (
        "allenai/c4",
        "realnewslike",
        "url",
    )


def test_speeches_are_by_presidents_of_which_two_are_called_adams() -> None:
    found, skipped = read(SotuCorpus())
    sources = {d.id: d.source for d in found}
    assert len(found) == 249 and not skipped
    assert sources["1797-Adams-1"] == "John Adams"
    assert sources["1825-Adams-1"] == "John Quincy Adams"
    assert all(d.id.split("-")[1] in d.source.replace(" ", "") for d in found)


def test_a_listing_changes_with_the_files(hub: Path) -> None:
    for config in (FilesCorpus(path=str(hub / "en")), HubCorpus(path=str(hub), config="en")):
        before = corpus.listing(config)
        assert before == corpus.listing(config)
        lines(hub / "en" / "train.jsonl", {"text": type(config).__name__})
        assert before != corpus.listing(config)
    assert corpus.listing(HubCorpus(path="allenai/c4")) is None


def test_a_second_copy_of_a_document_is_skipped_and_counted(tmp_path: Path) -> None:
    for name, text in (("a", "One text."), ("b", "Another."), ("c", "One text.")):
        (tmp_path / f"{name}.txt").write_text(text)
    skipped: Counter[str] = Counter()
    read = corpus.read(FilesCorpus(path=str(tmp_path)), 0, skipped)
    assert [document.id for document in read] == ["a.txt", "b.txt"]
    assert skipped == {"duplicate document": 1}


def test_an_id_may_be_zero(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "n": 0}\n{"text": "y", "n": 1}\n')
    config = FilesCorpus(path=str(tmp_path), id_field="n")
    assert [document.id for document in corpus.read(config, 0, Counter())] == ["0", "1"]


def test_a_path_is_one_however_it_is_spelt_and_never_empty() -> None:
    assert FilesCorpus(path="a//b/").path == FilesCorpus(path="./a/b").path == "a/b"
    with pytest.raises(ValueError, match=r"corpus\.path is empty"):
        FilesCorpus(path=" ")
