"""Whatever order outcomes come in, the questions are those of asking one after another."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fullcontext.data.questions import Outcome
from fullcontext.data.walk import Shard, Walk
from fullcontext.data.writers import Asking
from fullcontext.records import Document, Question

KINDS = ("fine_grained", "integration")
NAMES = st.sampled_from(["new", "rejected", "again"])
SHARDS = st.lists(
    st.lists(st.tuples(st.sampled_from(KINDS), NAMES), max_size=12), min_size=1, max_size=6
)
WANTED = st.fixed_dictionaries({kind: st.integers(0, 12) for kind in KINDS})


class Once:
    """Refuses a question that was there before."""

    def __init__(self) -> None:
        self.before: set[str] = set()

    def known(self, question: str, answer: str) -> str | None:
        if question in self.before:
            return "duplicate"
        self.before.add(question)
        return None


def outcome(kind: str, what: str, name: str) -> Outcome:
    if what == "rejected":
        return Outcome(None, "bad", ("format",))
    text = "again" if what == "again" else name
    return Outcome(Question(name, kind, text, "a", (), (), "d", "p"), None, ("format",))


def shards(plan: list[list[tuple[str, str]]]) -> list[Shard]:
    document = Document("d", "", "", "", "d")
    return [
        Shard(
            number=number,
            documents=1,
            counts={},
            kinds=[kind for kind, _ in askings],
            outcomes=[None] * len(askings),
            askings=[Asking(kind, document, ()) for kind, _ in askings],
        )
        for number, askings in enumerate(plan)
    ]


def one_after_another(plan, wanted) -> tuple[list[str], Counter[str], int]:
    """The questions, how many of each kind were asked, and how many shards it took."""
    made, asked, seen, taken, used = Counter(), Counter(), Once(), [], 0
    for number, askings in enumerate(plan):
        if all(made[kind] >= wanted[kind] for kind in KINDS):
            break
        used += 1
        for place, (kind, what) in enumerate(askings):
            if made[kind] >= wanted[kind]:
                continue
            asked[kind] += 1
            found = outcome(kind, what, f"{number}/{place}").question
            if found and seen.known(found.question, "") is None:
                made[kind] += 1
                taken.append(found.id)
    return taken, asked, used


@given(SHARDS, WANTED, st.integers(1, 9), st.integers(0, 1 << 30))
def test_replies_in_any_order_give_the_questions_of_asking_in_order_and_none_is_asked_in_vain(
    plan, wanted, concurrency: int, seed: int
) -> None:
    draw, walk, coming = random.Random(seed), Walk(wanted, Once()), shards(plan)
    flying: list[tuple[Shard, int]] = []
    passed: list[Shard] = []
    asked: Counter[str] = Counter()
    while not walk.full():
        if coming and (walk.lacks(1) or draw.random() < 0.2):
            walk.open(coming.pop(0))
        passed += walk.advance()
        while len(flying) < concurrency and (item := walk.next()):
            flying.append(item)
            asked[item[0].kinds[item[1]]] += 1
        if flying:
            shard, place = flying.pop(draw.randrange(len(flying)))
            kind, what = plan[shard.number][place]
            walk.settle(shard, place, outcome(kind, what, f"{shard.number}/{place}"))
        elif not coming:
            break
    passed += walk.advance()
    taken, needed, used = one_after_another(plan, wanted)
    assert [question.id for shard in passed for question in shard.taken] == taken
    assert asked == needed == walk.tally.asked
    assert [shard.number for shard in passed] == list(range(used))


@given(SHARDS, WANTED, st.integers(0, 1 << 30))
def test_shards_made_elsewhere_give_the_same_questions_and_counts(plan, wanted, seed: int) -> None:
    draw, walk = random.Random(seed), Walk(wanted, Once())
    passed: list[Shard] = []
    for shard in shards(plan):
        if walk.full():
            break
        for place, (kind, what) in enumerate(plan[shard.number]):
            if draw.random() < 0.7:
                shard.outcomes[place] = outcome(kind, what, f"{shard.number}/{place}")
        walk.open(shard)
        while item := walk.next():
            kind, what = plan[item[0].number][item[1]]
            walk.settle(*item, outcome(kind, what, f"{item[0].number}/{item[1]}"))
            passed += walk.advance()
        passed += walk.advance()
    passed += walk.advance()
    taken, needed, _ = one_after_another(plan, wanted)
    assert [question.id for shard in passed for question in shard.taken] == taken
    assert walk.tally.asked == needed


def test_a_demoted_question_counts_as_what_it_became_and_is_left_out_where_there_are_enough() -> (
    None
):
    walk = Walk({"fine_grained": 1, "integration": 1}, None)
    plan = [[("integration", "new"), ("integration", "new"), ("integration", "new")]]
    walk.open(shards(plan)[0])
    question = Question("x", "fine_grained", "q", "a", (), (), "d", "p")
    for place in range(2):
        shard, at = walk.next()
        assert at == place
        walk.settle(shard, at, Outcome(question, None, ("single_piece",), demoted=True))
        walk.advance()
    assert walk.tally.made == {"fine_grained": 1} and not walk.full()
    assert walk.tally.dropped["integration: demoted, but there are enough fine_grained questions"]
    walk.settle(*walk.next(), outcome("integration", "new", "y"))
    (passed,) = walk.advance()
    assert [q.kind for q in passed.taken] == ["fine_grained", "integration"] and walk.full()
