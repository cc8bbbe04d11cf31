"""The prompted writer says the paper's rules, reads the reply and asks once more where it must."""

import asyncio
import json

import pytest

from fullcontext.config import FiltersConfig, OpenAIWriter
from fullcontext.data.filters import Format
from fullcontext.data.writers import Asking, Reply, prompts, reading
from fullcontext.data.writers.prompted import Prompted
from fullcontext.llm import Completion, Refused, Unanswered
from fullcontext.records import Document, Segment

GOOD = {"question": "Who built the tower?", "answer": "Ada built it.", "pieces": [1, 2]}


def asking(kind: str, pieces: int = 3, document: str = "d") -> Asking:
    segments = tuple(
        Segment(f"{document}/{i}", document, document, i, f"Text {i} of {document}.", None)
        for i in range(pieces)
    )
    return Asking(kind, Document(document, "", "s", "l", document), segments)


class Replies:
    """Gives one reply after another and keeps what it was asked."""

    name = "replies"

    def __init__(self, *replies) -> None:
        self.replies, self.requests = list(replies), []

    async def complete(self, request) -> Completion:
        self.requests.append(request)
        said = self.replies.pop(0)
        if isinstance(said, Exception):
            raise said
        text, finish = said if isinstance(said, tuple) else (said, "stop")
        return Completion(text, 1, 1, finish)

    async def close(self) -> None: ...


def write(model: Replies, what: Asking, temperature: float = 0.7) -> Reply | str:
    config = OpenAIWriter(model="m", temperature=temperature)
    writer = Prompted(model, config, 4, Format(FiltersConfig()), "version")
    return asyncio.run(writer.reply(what, seed=0))


def test_a_question_with_its_pieces() -> None:
    model = Replies(json.dumps(GOOD))
    assert write(model, asking("integration")) == Reply(GOOD["question"], GOOD["answer"], (0, 1))
    (request,) = model.requests
    said = request.messages[-1].content
    assert all(f"<piece {i + 1}>\nText {i} of d.\n</piece {i + 1}>" in said for i in range(3))
    assert "at least two of the pieces" in request.messages[0].content
    assert request.schema["required"] == ["question", "answer", "pieces"]


def test_an_unusable_reply_is_asked_for_once_more_with_another_seed() -> None:
    model = Replies("I'd rather not.", json.dumps(GOOD))
    assert isinstance(write(model, asking("integration")), Reply)
    assert [request.seed for request in model.requests] == [0, 1]
    model = Replies("no", "no")
    assert write(model, asking("integration")) == "reply is neither JSON nor labelled"
    greedy = Replies("no")
    assert isinstance(write(greedy, asking("integration"), temperature=0), str)
    assert len(greedy.requests) == 1, "a greedy model would repeat itself"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({**GOOD, "pieces": [2]}, "fewer pieces named than the question needs"),
        ({**GOOD, "pieces": [2, 7]}, "reply names a piece that was not given"),
        ({**GOOD, "question": "Who, according to the text?"}, "question speaks of its context"),
        (('{"question": "Who', "length"), "reply cut at max_new_tokens"),
        (("", "content_filter"), "reply withheld by a content filter"),
    ],
)
def test_reasons(reply, reason: str) -> None:
    said = json.dumps(reply) if isinstance(reply, dict) else reply
    assert write(Replies(said, said), asking("integration")) == reason


def test_refusals_and_silence_are_reasons_and_not_asked_again() -> None:
    model = Replies(Refused("400"))
    assert write(model, asking("fine_grained", 1)) == "refused (400)"
    model = Replies(Unanswered("503"))
    assert write(model, asking("fine_grained", 1)) == "no reply (503)"
    assert len(model.requests) == 1


def test_fine_grained_and_instructions_name_no_pieces() -> None:
    said = json.dumps({"question": "Who built it then?", "answer": "Ada."})
    assert write(Replies(said), asking("fine_grained", 1)) == Reply(
        "Who built it then?", "Ada.", (0,)
    )
    model = Replies(said)
    assert write(model, asking("instruction")) == Reply("Who built it then?", "Ada.", ())
    assert "pieces" not in model.requests[0].schema["properties"]


def test_half_of_the_short_contexts_integrate_and_single_segments_never_do() -> None:
    several = [prompts.least_pieces(asking("short_context", 3, f"d{i}")) for i in range(200)]
    assert 70 < several.count(2) < 130
    assert {prompts.least_pieces(asking("short_context", 1, f"d{i}")) for i in range(50)} == {1}


@pytest.mark.parametrize("kind", ["fine_grained", "integration", "short_context", "instruction"])
def test_the_shown_exchange_is_what_is_wanted_of_the_model(kind: str) -> None:
    told = prompts.messages(asking(kind, 1 if kind == "fine_grained" else 2))
    assert [message.role for message in told] == ["user", "assistant", "user"]
    needs_pieces = prompts.names_pieces(asking(kind))
    reply = reading.read(told[1].content, 2, names_pieces=needs_pieces)
    assert isinstance(reply, Reply) and Format(FiltersConfig()).fault(kind, reply) is None
    assert told[0].content.startswith(prompts.messages(asking(kind, 2, "e"))[0].content[:200])


@pytest.mark.parametrize("kind", ["fine_grained", "integration", "short_context", "instruction"])
def test_prompts_are_filled_whatever_the_text_holds(kind: str) -> None:
    segments = (
        Segment("d/0", "d", "d", 0, "A {count} of {need} and {text} {noun}.", None),
        Segment("d/1", "d", "d", 1, "B", None),
    )
    told = prompts.messages(Asking(kind, Document("d", "", "s", "l", "d"), segments))
    said = "".join(message.content for message in told)
    assert said.count("A {count} of {need} and {text} {noun}.") == 1
    rest = said.replace("A {count} of {need} and {text} {noun}.", "")
    assert not any(field in rest for field in ("{count}", "{need}", "{text}", "{noun}"))
