"""Filler is of other documents, of the kind asked for, without the answer, and fits exactly."""

from dataclasses import replace
from pathlib import Path

import pytest

from fullcontext.compose import ConfigError
from fullcontext.config import Chat, Filler
from fullcontext.data import manifest, neighbours, reader
from fullcontext.data.mixture import Mixture
from fullcontext.data.table import Store
from fullcontext.data.tokens import Encoder, Prompt
from tests.data import stores
from tests.data.stores import Text
from tests.data.test_exact import DATA
from tests.data.tokenizers import family

ENCODER = Encoder(family("sentencepiece"))


def mixture(folder: Path, books: list[Text], **changes) -> Mixture:
    fillers = changes.pop("fillers", None)
    content = stores.write(folder, ENCODER, [books], fillers=fillers)
    data = replace(DATA, **{"mixture": {"fine_grained": 1.0}, **changes})
    store = Store(folder, content)
    if data.filler is Filler.hard:
        neighbours.write(folder, data)
        store.neighbours = neighbours.read(store, data)
    return Mixture(data, Prompt(data, Chat.inst, ENCODER), store, 0, 16)


def contexts(drawn: Mixture, number: int = 40):
    """Question, text of the context, and the example, for some examples."""
    store = drawn.assembler.store
    for index in range(number):
        stored = store.stored(*drawn.sampler.pick(index))
        example = drawn.example(index)
        yield stored, ENCODER.tokenizer.decode(example.context), example


def test_no_filler_is_of_the_questions_document(tmp_path) -> None:
    drawn = mixture(tmp_path, stores.library(30, 3))
    for stored, text, example in contexts(drawn):
        document = stored.question.parent[1:]
        assert text.count(f"Note {document}.") == 1 and example.fillers > 2


def test_no_filler_holds_the_answer(tmp_path) -> None:
    books = stores.library(30, 3)
    # Half of the segments hold every answer.
    held = ["coins " + " ".join(f"coin c{d}x{s}" for d in range(30) for s in range(3))]
    books = [*books, *(Text(f"e{i}", [f"Part {i} lists {held[0][:900]}"]) for i in range(60))]
    notes = []
    for stored, text, example in contexts(mixture(tmp_path / "without", books)):
        assert text.count(stored.question.answer) == 1
        notes += example.notes
    assert notes.count("filler that holds the answer passed over") > 20
    drawn = mixture(tmp_path / "with", books, exclude_answer=False)
    assert any(text.count(s.question.answer) > 1 for s, text, _ in contexts(drawn))


def test_contexts_have_the_drawn_length_without_cutting(tmp_path) -> None:
    drawn = mixture(tmp_path, stores.library(300, 3))
    examples = [example for *_, example in contexts(drawn, 100)]
    assert all(0 <= e.requested - e.tokens <= 10 for e in examples)
    assert not any("cut" in note for e in examples for note in e.notes)


def test_a_store_without_a_segment_that_fits_has_its_last_one_cut(tmp_path) -> None:
    drawn = mixture(tmp_path, stores.library(30, 3, words=(200, 201)))
    notes = [note for *_, e in contexts(drawn, 30) for note in e.notes]
    assert notes.count("last filler cut to the drawn length") > 10
    assert all(e.requested - 60 < e.tokens <= e.requested for *_, e in contexts(drawn, 30))


def test_same_source_is_of_that_source_and_random_when_it_is_exhausted(tmp_path) -> None:
    drawn = mixture(tmp_path, stores.library(60, 3), filler=Filler.same_source)
    seen = 0
    for stored, text, example in contexts(drawn):
        numbers = {int(line.split(".")[0]) for line in text.split("Note ")[1:]}
        if not any("rest is random" in note for note in example.notes):
            assert {f"s{n % 4}" for n in numbers} == {stored.question.source}
            seen += 1
    assert seen > 10
    small = mixture(tmp_path / "small", stores.library(16, 3), filler=Filler.same_source)
    notes = [note for *_, e in contexts(small) for note in e.notes]
    assert notes.count("source has no more filler: the rest is random") > 20


def test_hard_takes_the_neighbours_of_the_question_first(tmp_path) -> None:
    books = [
        Text(f"t{i}", [f"The harvest of {word} failed in valley {i}; {word} was dear. "
                       + stores.prose(i, 30)],
             [("fine_grained", f"Where did the harvest of {word} fail?", f"valley {i}", [0])])
        for i, word in enumerate(w for w in ("wheat", "maize", "barley") for _ in range(20))
    ]  # fmt: skip
    drawn = mixture(tmp_path, books, filler=Filler.hard, context_range=[900, 1200])
    for stored, text, _ in contexts(drawn, 20):
        word = stored.question.question.split("harvest of ")[1].split()[0]
        # One may be given back for the segment that fits the gap.
        assert text.count(f"The harvest of {word}") >= text.count("The harvest of") - 2 > 4
        assert text.count(f"{stored.question.answer};") == 1


def test_filler_of_its_own_size_comes_from_its_own_table(tmp_path) -> None:
    fillers = [Text(f"f{i}", [f"Filler {i}.{j}" for j in range(20)]) for i in range(60)]
    drawn = mixture(tmp_path, stores.library(10, 3), fillers=fillers, filler_segment_size=8)
    for stored, text, example in contexts(drawn, 20):
        assert text.count("Note ") == 1 and text.count("Filler ") == example.fillers
        assert stored.question.answer in text


def test_a_store_too_small_is_refused(tmp_path) -> None:
    drawn = mixture(tmp_path, stores.library(4, 2), context_range=[2400, 2400])
    with pytest.raises(ConfigError, match="too small for contexts of 2400"):
        drawn.example(0)


def test_opening_refuses_other_filler_and_missing_neighbours_with_the_command(
    tmp_path, train_config
) -> None:
    content = stores.write(tmp_path, ENCODER, [stores.library(10, 3)])
    words = ["experiments=demo", f"data.store={tmp_path}", "data.mixture.instruction=0",
             "data.mixture.fine_grained=0.74"]  # fmt: skip
    hash = manifest.tokenizer_hash(ENCODER)
    with pytest.raises(ConfigError, match=r"filler_segment_size: None there, 64 here.*size=64"):
        reader.open_store(train_config(*words, "data.filler_segment_size=64"), hash)
    config = train_config(*words, "data.filler=hard")
    with pytest.raises(ConfigError, match=r"python synthesize.py .*data.filler=hard"):
        reader.open_store(config, hash)
    neighbours.write(tmp_path, config.data)
    assert len(reader.open_store(config, hash).neighbours) == sum(content["questions"].values())
    assert manifest.read(tmp_path) == content
