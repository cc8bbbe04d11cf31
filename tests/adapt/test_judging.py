"""A judge's True and False count; whatever else it says is counted, and is neither."""

from pathlib import Path

import pytest

from fullcontext.adapt.documents import Question
from fullcontext.adapt.judging import judged, verdict
from fullcontext.config import OpenAIJudge
from tests.llm.faults import FaultServer, Good, Status

FIRST = Question("q0", "Who opened it?", ("Juan Carlos", "the king"), "short")


def settings(url: str) -> OpenAIJudge:
    return OpenAIJudge(base_url=url, model="m", tries=2, longest_pause_s=0.01, concurrency=4)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("True", True),
        ("**true.**\nBoth name the king.", True),
        ("False, the king did not.", False),
        ("True or False", None),
        ("It is not true", None),
        ("Yes", None),
        ("untrue", None),
        ("", None),
    ],
)
def test_only_a_reply_that_begins_with_one_of_the_two_is_a_verdict(said: str, expected) -> None:
    assert verdict(said) is expected


def test_verdicts_come_in_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    def decide(request, count):
        text = request["messages"][-1]["content"]
        if "a bad request" in text:
            return Status(400)
        if "nothing" in text:
            return Status(500)
        known = (("the king", "True"), ("nobody", "False"), ("somebody", "Perhaps"))
        return Good(next(said for word, said in known if f"Answer: {word}" in text))

    replies = ["nobody", "somebody", "the king", "a bad request", "nothing", " "]
    asked = [(FIRST, reply) for reply in replies]
    asked += [(Question("q1", "And?", ()), "x"), (Question("q2", "?", ("{}",), "cloze"), "x")]
    with FaultServer(decide) as server:
        found = judged(settings(server.url), asked, tmp_path)
        number = len(server.requests)
        again = judged(settings(server.url), asked[:3], tmp_path)
        assert len(server.requests) == number, "what was replied is not asked again"
    assert found.verdicts == [0.0, None, 1.0, None, None, 0.0, None, None]
    assert again.verdicts == found.verdicts[:3] and again.usage["from_cache"] == 3
    reasons = sorted(found.counted.items())
    assert [count for _, count in reasons] == [1] * 5
    assert [reason.split(" (")[0] for reason, _ in reasons] == [
        "empty answer, wrong without asking", "judge refused",
        "judge said neither True nor False", "no gold answer", "no reply of the judge",
    ]  # fmt: skip


def test_a_judge_sees_question_all_gold_answers_and_answer(tmp_path: Path) -> None:
    with FaultServer(lambda request, count: Good("True")) as server:
        found = judged(settings(server.url), [(FIRST, " the king {gold} \n")], tmp_path)
        assert server.requests[0]["temperature"] == 0
        text = server.asked[0]
    assert found.verdicts == [1.0] and not found.counted
    for part in ("Who opened it?", "Juan Carlos\n(or) the king", "Answer: the king {gold}"):
        assert part in text
