"""What a language model is told when it writes questions, and the JSON it has to reply in.

The wording is ours; the rules are the paper's (IN2, appendix I): a question specific to its text,
answerable from it alone, that never speaks of "the context"; an answer in own words; and for
integration at least two pieces, which the model has to name.
"""

import json
from typing import Any

from fullcontext.data.writers import Asking
from fullcontext.llm import Message
from fullcontext.randomness import rng
from fullcontext.store import fingerprint

_RULES = """\
Rules for the question:
- It can be answered completely from the {noun}, without any other knowledge.
- It is clear and has one right answer. It names the people, things, places and times it is about,
  so that a reader who has not just read the {noun} knows what is meant.
- It does not mention the {noun}: no "according to the text", "in this passage", "mentioned above".
Rules for the answer:
- It is right, and made of what the {noun} says.
- It is in your own words, in one to four sentences; it does not copy whole sentences."""

_ONE = (
    "You get a passage. Write one question about a detail that only this passage tells, and its"
    " answer. A question that could be asked of any text is of no use.\n\n"
    + _RULES.replace("{noun}", "passage")
    + '\n\nReply with one JSON object and nothing else: {"question": "...", "answer": "..."}'
)

_SEVERAL = (
    "You get a text in numbered pieces. Write one question {need}, and its answer.\n\n"
    + _RULES.replace("{noun}", "text")
    + "\n- Neither question nor answer names a piece by its number.\n\n"
    "Also say which pieces the answer rests on, by number: all that are needed, and no other."
    "\n\nReply with one JSON object and nothing else:"
    ' {"question": "...", "answer": "...", "pieces": [1, 2]}'
)
_INTEGRATION = _SEVERAL.replace(
    "{need}",
    "whose answer needs facts from at least two of the pieces, brought together by several steps of"
    " thought; no piece alone is enough to answer it",
)
_DETAIL = _SEVERAL.replace("{need}", "about a detail that only this text tells")

_INSTRUCTION = (
    "You get a passage, only for its topic. Write an instruction that somebody interested in this"
    " topic might give to an assistant, and the assistant's response. The instruction stands on its"
    " own: it can be carried out without the passage, from general knowledge or by writing, and"
    " does not mention the passage. The response is helpful, correct and at most 150 words long."
    '\n\nReply with one JSON object and nothing else: {"question": "the instruction",'
    ' "answer": "the response"}'
)

_FIRST = (
    "The keeper's log of 1882 records that James Douglass rebuilt the Eddystone lighthouse, and"
    " that the old lantern was carried to Plymouth Hoe, where visitors may climb it."
)
_SECOND = "It was Smeaton who had built that old tower, of granite blocks that dovetail, in 1759."
_SHOWN: dict[str, tuple[list[str], dict[str, Any]]] = {
    _ONE: (
        [_FIRST],
        {
            "question": "Where was the old lantern of the Eddystone lighthouse taken when James"
            " Douglass rebuilt the tower?",
            "answer": "It was brought to Plymouth Hoe.",
        },
    ),
    _INTEGRATION: (
        [_FIRST, _SECOND],
        {
            "question": "How many years had Smeaton's Eddystone lighthouse stood when James"
            " Douglass rebuilt it?",
            "answer": "It had stood for 123 years, from 1759 to 1882.",
            "pieces": [1, 2],
        },
    ),
    _DETAIL: (
        [_FIRST, _SECOND],
        {
            "question": "What was Smeaton's Eddystone lighthouse of 1759 built of?",
            "answer": "Smeaton used interlocking blocks of granite.",
            "pieces": [2],
        },
    ),
    _INSTRUCTION: (
        [_FIRST],
        {
            "question": "Explain in two sentences why lighthouses were built on remote rocks.",
            "answer": "Rocks far from the shore wrecked ships that could not see them at night or"
            " in fog. A light on the rock itself warned sailors early enough to keep clear of it.",
        },
    ),
}
"""An exchange that is shown before the real one. Small models copy its form; for large ones it
costs a hundred tokens of a prefix that is always the same, which servers keep."""

_NOW = "\n\nWrite one question and its answer about this by the rules above, as JSON."

VERSION = fingerprint([[task, *shown] for task, shown in _SHOWN.items()] + [_NOW])
"""Changes with every word of the prompts."""


def messages(asking: Asking) -> tuple[Message, ...]:
    """What is said to the model; a function of the asking alone. The text comes last."""
    task = _task(asking)
    shown, reply = _SHOWN[task]
    return (
        Message("user", f"{task}\n\n{_laid_out(task, shown)}{_NOW}"),
        Message("assistant", json.dumps(reply)),
        Message("user", _laid_out(task, [segment.text for segment in asking.segments]) + _NOW),
    )


def _task(asking: Asking) -> str:
    match asking.kind:
        case "fine_grained":
            return _ONE
        case "instruction":
            return _INSTRUCTION
        case "integration" | "short_context":
            return _INTEGRATION if _integrates(asking) else _DETAIL
        case kind:
            raise AssertionError(f"no prompt for {kind}")


def _laid_out(task: str, texts: list[str]) -> str:
    if task in (_ONE, _INSTRUCTION):
        return "<passage>\n" + "\n".join(texts) + "\n</passage>"
    return "\n".join(f"<piece {i}>\n{text}\n</piece {i}>" for i, text in enumerate(texts, 1))


def schema(asking: Asking) -> dict[str, Any]:
    """JSON schema of the reply; every property is required, as strict servers want it."""
    properties: dict[str, Any] = {"question": {"type": "string"}, "answer": {"type": "string"}}
    if names_pieces(asking):
        properties["pieces"] = {"type": "array", "items": {"type": "integer"}}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def names_pieces(asking: Asking) -> bool:
    """Whether the reply has to say which pieces it rests on."""
    return asking.kind in ("integration", "short_context")


def least_pieces(asking: Asking) -> int:
    """The fewest pieces a usable reply rests on."""
    if asking.kind == "instruction":
        return 0
    return 2 if _integrates(asking) else 1


def _integrates(asking: Asking) -> bool:
    """Integration, and half of the short contexts: the paper's short QA are of both types."""
    if asking.kind != "short_context":
        return asking.kind == "integration"
    if len(asking.segments) < 2:
        return False
    return bool(rng(0, "short context", *map(ord, fingerprint(asking.key))).integers(2))


def example_reply() -> str:
    """A reply of usual length, for estimates."""
    return json.dumps({"question": "x " * 20, "answer": "x " * 35, "pieces": [1, 2]})
