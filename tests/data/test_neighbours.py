"""The neighbours of a question: alike, of other documents, without the answer, always the same."""

import pytest

from fullcontext.compose import ConfigError
from fullcontext.data import neighbours
from fullcontext.data.table import Store
from tests.data import stores
from tests.data.stores import Text
from tests.data.test_exact import DATA
from tests.data.test_fillers import ENCODER

BOOKS = [
    Text("a", ["The ships of Spain sailed in May with silver.", "Rain fell."],
         [("fine_grained", "When did the ships of Spain sail?", "May", [0]),
          ("short_context", "What fell?", "Rain", [1])]),
    Text("b", ["The ships of France sailed in June.", "No ships sailed that year."]),
    Text("c", ["Spain sent ships in May, too.", "Bread was dear."]),
    Text("d", ["The ships of Spain sailed home in July."]),
]  # fmt: skip


def texts(store: Store, row: int) -> list[str]:
    return [store.fillers.text(n) for n in store.neighbours[row]]


def test_neighbours_are_alike_of_other_documents_and_without_the_answer(tmp_path) -> None:
    store = Store(tmp_path, stores.write(tmp_path, ENCODER, [BOOKS]))
    neighbours.write(tmp_path, DATA)
    store.neighbours = neighbours.read(store, DATA)
    assert texts(store, 0) == [
        "The ships of Spain sailed home in July.",
        "The ships of France sailed in June.",
        "No ships sailed that year.",
    ]
    assert texts(store, 1) == [], "a short context has no filler"


def test_no_more_are_kept_than_asked_for(tmp_path) -> None:
    from dataclasses import replace

    data = replace(DATA, hard_neighbours=2)
    store = Store(tmp_path, stores.write(tmp_path, ENCODER, [BOOKS]))
    neighbours.write(tmp_path, data)
    assert neighbours.read(store, DATA) is None, "another number is another file"
    store.neighbours = neighbours.read(store, data)
    assert len(texts(store, 0)) == 2


def test_the_file_is_the_same_every_time_in_one_block_or_many(tmp_path, monkeypatch) -> None:
    books = stores.library(40, 3)
    files = []
    for name in ("one", "two"):
        stores.write(tmp_path / name, ENCODER, [books[:20], books[20:]])
        files.append(neighbours.write(tmp_path / name, DATA))
    assert files[0].name == files[1].name
    assert files[0].read_bytes() == files[1].read_bytes()
    before = files[0].stat().st_mtime_ns
    assert neighbours.write(tmp_path / "one", DATA).stat().st_mtime_ns == before, "found once"
    monkeypatch.setattr(neighbours, "BLOCK", 50)
    found = neighbours.write(tmp_path / "one", DATA)
    store = Store(
        tmp_path / "one", stores.write(tmp_path / "one", ENCODER, [books[:20], books[20:]])
    )
    store.neighbours = neighbours.read(store, DATA)
    assert found != files[0] and len(store.neighbours) == 200
    assert all(len(store.neighbours[row]) for row in store.pools["fine_grained"])


def test_a_store_that_is_not_finished_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="is not finished"):
        neighbours.write(tmp_path, DATA)
