"""Each filter drops what it is for, lets the rest pass, and says why."""

import asyncio

import pytest

from fullcontext.config import EvidenceCheck, FiltersConfig, SinglePiece
from fullcontext.data import filters
from fullcontext.data.filters import Filters, Judge, Verdict, same, supported
from fullcontext.data.writers import Asking, Reply
from fullcontext.llm import Completion, Refused, Request, Unanswered
from fullcontext.records import Document, Segment

TEXTS = (
    "The lighthouse of Eddystone was rebuilt in 1882 by James Douglass.",
    "Its lantern was moved to Plymouth Hoe, where visitors climb it.",
)


def asking(kind: str) -> Asking:
    document = Document("d", "\n".join(TEXTS), "s", "l", "d")
    pieces = tuple(
        Segment(f"d/{i}", "d", "d", i, text, None) for i, text in enumerate(TEXTS)
    )  # fmt: skip
    return Asking(kind, document, pieces[:1] if kind == "fine_grained" else pieces)


GOOD = {
    "fine_grained": Reply(
        "Who rebuilt the lighthouse of Eddystone?", "It was James Douglass who rebuilt it.", (0,)
    ),
    "integration": Reply(
        "Where can one climb the lantern of the tower that James Douglass replaced?",
        "The lantern stands at Plymouth Hoe, and visitors climb it.",
        (0, 1),
    ),
    "instruction": Reply("Write a haiku about this passage.", "Waves, then light.", ()),
}


class Says:
    """A judge's model that answers by what it is shown."""

    name = "says"

    def __init__(self, answer) -> None:
        self.answer, self.asked = answer, []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.messages[0].content)
        said = self.answer(request.messages[0].content)
        if isinstance(said, Exception):
            raise said
        return Completion(said, 1, 1, "stop")

    async def close(self) -> None: ...


def verdict(kind: str, reply: Reply, model: Says | None = None, **settings) -> Verdict:
    config = FiltersConfig(**settings)
    judge = Judge(model, None, config.same_answer) if model else None
    return asyncio.run(Filters(config, ("</s>",), judge).verdict(asking(kind), reply))


@pytest.mark.parametrize("kind", GOOD)
def test_good_questions_pass_everything_that_needs_no_judge(kind: str) -> None:
    found = verdict(kind, GOOD[kind])
    assert found.reason is None and found.checked[0] == "format"


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Who?", "James Douglass rebuilt it.", "fewer than 3 words"),
        ("why " * 121, "James Douglass rebuilt it.", "more than 120 words"),
        ("Who rebuilt the lighthouse?", "so " * 250 + "so", "more than 250 words"),
        ("According to the text, who rebuilt it?", "James Douglass", "speaks of its context"),
        ("Who rebuilt it, based on the provided context?", "James", "speaks of its context"),
        ("What does the passage say of the tower?", "James", "speaks of its context"),
        ("Which name is in piece 2 of it?", "James", "speaks of its context"),
        ("Who rebuilt the lighthouse?", "James</s>", "special token"),
        ("Who is James Douglass?", "James Douglass", "gives the answer away"),
        ("Who rebuilt the lighthouse?", " ", "empty question or answer"),
        ("Who rebuilt the lighthouse?", "Isambard Kingdom Brunel", "words not in evidence"),
        ("Who rebuilt the lighthouse?", "It happened in 1883", "words not in evidence"),
    ],
)
def test_faults_of_fine_grained_questions(question: str, answer: str, reason: str) -> None:
    found = verdict("fine_grained", Reply(question, answer, (0,)))
    assert found.reason is not None and reason in found.reason


@pytest.mark.parametrize(
    "question",
    [
        'Which name belongs in the gap of this statement: "In the text, ____ says so."?',
        "Who wrote the article on the lighthouse?",
        "What is a verdict in the context of maritime law?",
        "Which document did Douglass sign in 1882?",
        "What did the inspector say about the text of the plaque?",
    ],
)
def test_quotations_and_real_documents_are_not_talk_of_the_context(question: str) -> None:
    reply = Reply(question, "James Douglass", (0,))
    assert filters.Format(FiltersConfig()).fault("fine_grained", reply) is None


def test_a_switched_off_filter_looks_at_nothing() -> None:
    found = verdict(
        "fine_grained", Reply("Who?", "Brunel", (0,)), format=False, evidence=EvidenceCheck.off
    )
    assert found.reason is None and found.checked == ()


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("James Douglass rebuilt it", 1.0),
        ("The rebuilding of lighthouses", 1.0),  # inflected
        ("Douglass and Brunel", 0.5),
        ("1882", 1.0),
        ("1883", 0.0),
        ("It was he", 1.0),  # nothing to hold against the text
    ],
)
def test_share_of_supported_words(answer: str, share: float) -> None:
    assert supported(answer, [TEXTS[0]], least=1) == share


def test_short_answers_to_integration_questions_may_be_worked_out() -> None:
    reply = Reply("How many years lie between the two towers?", "123 years", (0, 1))
    assert verdict("integration", reply).reason is None


@pytest.mark.parametrize(
    ("said", "gold", "equal"),
    [
        ("It was Ada Lovelace.", "Ada Lovelace", True),
        ("Lovelace", "Ada Lovelace", True),  # F1 2/3
        ("unknown", "Ada Lovelace", False),
        ("", "Ada", False),
        ("In 1882", "1882.", True),
        ("In 18820", "1882", False),
        ("visitors climb the lantern at Plymouth Hoe", GOOD["integration"].answer, True),
    ],
)
def test_same_answers(said: str, gold: str, equal: bool) -> None:
    assert same(said, gold, 0.6) is equal


def test_what_is_known_without_the_text_is_dropped_and_the_judge_sees_no_text() -> None:
    model = Says(lambda asked: "James Douglass")
    found = verdict("fine_grained", Reply("Who rebuilt Eddystone?", "James Douglass", (0,)), model,
                    closed_book=True)  # fmt: skip
    assert found.reason == "answered without its text" and found.checked[-1] == "closed_book"
    assert not any(text in asked for text in TEXTS for asked in model.asked)
    unknown = Says(lambda asked: "unknown")
    assert verdict("fine_grained", GOOD["fine_grained"], unknown, closed_book=True).reason is None


def test_what_one_piece_answers_is_dropped_or_demoted_to_that_piece() -> None:
    def second_piece_is_enough(asked: str) -> str:
        return GOOD["integration"].answer if TEXTS[1] in asked else "not given"

    model = Says(second_piece_is_enough)
    found = verdict("integration", GOOD["integration"], model, single_piece=SinglePiece.drop)
    assert found.reason == "answered from a single piece"
    found = verdict("integration", GOOD["integration"], model, single_piece=SinglePiece.demote)
    assert found.reason is None
    assert (found.kind, found.reply.evidence) == ("fine_grained", (1,))
    needs_both = Says(lambda asked: "not given")
    found = verdict("integration", GOOD["integration"], needs_both, single_piece=SinglePiece.drop)
    assert (found.reason, found.kind) == (None, "integration")
    assert len(needs_both.asked) == 2


def test_a_judge_that_is_silent_or_refuses_is_a_reason_of_its_own() -> None:
    silent = verdict("fine_grained", GOOD["fine_grained"], Says(lambda _: Unanswered("429")),
                     closed_book=True)  # fmt: skip
    assert silent.reason == "no reply of the judge (429)"
    refuses = verdict("fine_grained", GOOD["fine_grained"], Says(lambda _: Refused("too long")),
                      closed_book=True)  # fmt: skip
    assert refuses.reason == "judge refused (too long)"


class Likes(Says):
    """Finds an answer likelier by 0.3 nats a token when it sees its first text."""

    def __init__(self) -> None:
        super().__init__(lambda _: "")

    async def answer_nll(self, messages, answer: str) -> float:
        return 2.0 - 0.3 * (TEXTS[0] in messages[0].content)


@pytest.mark.parametrize(("least", "passes"), [(0.2, True), (0.4, False)])
def test_evidence_by_likelihood(least: float, passes: bool) -> None:
    found = verdict(
        "fine_grained",
        GOOD["fine_grained"],
        Likes(),
        evidence=EvidenceCheck.nll,
        evidence_nll=least,
    )
    assert (found.reason is None) is passes
