"""Who shares a context: every question once, distinct documents, no second answer."""

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fullcontext.config import Chat
from fullcontext.data.groups import Posed, gather
from fullcontext.data.mixture import Mixture
from fullcontext.data.table import Store, Stored
from fullcontext.data.tokens import Prompt
from fullcontext.records import Asked, Question
from tests.data import stores
from tests.data.stores import Text
from tests.data.test_exact import DATA
from tests.data.test_fillers import ENCODER


def posed(index: int, parent: int) -> Posed:
    question = Question(str(index), "fine_grained", "?", "a", ("x/0",), ("x/0",), "x", str(parent))
    asked = Asked(str(index), "fine_grained", np.zeros(1, np.int32), np.zeros(1, np.int32))
    return Posed(index, index, Stored(question, index, (0,), (0,)), asked)


def same_parent(one: Posed, other: Posed) -> bool:
    return one.stored.question.parent == other.stored.question.parent


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(2, 5))
def test_every_question_is_in_one_group_that_holds_no_clash(parents, shared) -> None:
    questions = [posed(i, parent) for i, parent in enumerate(parents)]
    groups = gather(questions, shared, same_parent, lambda several: True)
    assert sorted(p.index for g in groups for p in g.posed) == list(range(len(parents)))
    for group in groups:
        assert len(group.posed) <= shared
        held = [p.stored.question.parent for p in group.posed]
        assert len(set(held)) == len(held)


def test_a_clash_waits_for_the_next_group_and_order_is_kept() -> None:
    questions = [posed(i, parent) for i, parent in enumerate([0, 0, 1, 2, 0])]
    groups = gather(questions, 2, same_parent, lambda several: True)
    assert [[p.index for p in g.posed] for g in groups] == [[0, 2], [1, 3], [4]]
    assert not any(g.notes for g in groups)


def test_what_does_not_fit_waits_and_is_noted() -> None:
    questions = [posed(i, i) for i in range(4)]
    groups = gather(questions, 4, same_parent, lambda several: sum(p.index for p in several) < 4)
    assert [[p.index for p in g.posed] for g in groups] == [[0, 1, 2], [3]]
    assert [len(g.notes) for g in groups] == [1, 0]


def mixture(folder, books, **changes) -> Mixture:
    store = Store(folder, stores.write(folder, ENCODER, [books]))
    data = replace(DATA, mixture={"fine_grained": 0.5, "integration": 0.3, "short_context": 0.2},
                   **changes)  # fmt: skip
    return Mixture(data, Prompt(data, Chat.inst, ENCODER), store, 0, 16)


def test_a_step_holds_batch_size_questions_and_shared_contexts_all_their_evidence(tmp_path) -> None:
    drawn = mixture(tmp_path, stores.library(30, 4), questions_per_context=4)
    store = drawn.assembler.store
    for step in range(6):
        batch = drawn.batch(step)
        ids = [asked.index for example in batch for asked in example.asked]
        assert sorted(ids) == list(range(16 * step, 16 * step + 16))
        sizes = Counter(len(e.asked) for e in batch if e.asked[0].kind != "short_context")
        assert sizes[4] >= 2 and max(sizes) == 4
        assert {len(e.asked) for e in batch if e.asked[0].kind == "short_context"} <= {1}
        for example in batch:
            text = ENCODER.tokenizer.decode(example.context)
            assert example.tokens <= 2400
            for asked in example.asked:
                stored = store.stored(*drawn.sampler.pick(asked.index))
                assert stored.question.id == asked.id
                assert all(store.segments.text(n) in text for n in stored.evidence)
                own = text.count(f"Note {stored.question.parent[1:]}.")
                assert own == len(stored.evidence) or asked.kind != "fine_grained"


def test_batches_depend_on_seed_and_step_alone(tmp_path) -> None:
    books = stores.library(30, 4)
    one = mixture(tmp_path, books, questions_per_context=3)
    other = mixture(tmp_path, books, questions_per_context=3)
    other.batch(0)
    for a, b in zip(one.batch(4), other.batch(4), strict=True):
        assert np.array_equal(a.context, b.context) and a.index == b.index
    assert np.array_equal(one.example(70).context, other.example(70).context)
    assert 70 in [asked.index for asked in one.example(70).asked]


def test_no_evidence_holds_the_answer_of_another_question(tmp_path) -> None:
    books = [
        Text(f"t{i}", [f"Town {i} has {i % 3} mills, says the survey. " + stores.prose(i, 30)],
             [("fine_grained", f"What does town {i} have?", f"{i % 3} mills", [0]),
              ("integration", f"And {i}?", "mills", [0]), ("short_context", f"{i}?", "b", [0])])
        for i in range(60)
    ]  # fmt: skip
    drawn = mixture(tmp_path, books, questions_per_context=4, context_range=[600, 800],
                    exclude_answer=True)  # fmt: skip
    for example in drawn.batch(0):
        text = ENCODER.tokenizer.decode(example.context)
        for asked in example.asked:
            if asked.kind == "fine_grained":
                answer = ENCODER.tokenizer.decode(asked.answer[:-1]).strip()
                assert text.count(f"has {answer}") == 1


def test_each_question_has_its_own_depth(tmp_path) -> None:
    drawn = mixture(tmp_path, stores.library(30, 4), questions_per_context=4,
                    placement="stratified", context_range=[2400, 2400])  # fmt: skip
    shared = [e for e in drawn.batch(0) if len(e.asked) == 4]
    assert shared and all(len({asked.depth for asked in e.asked}) == 4 for e in shared)
