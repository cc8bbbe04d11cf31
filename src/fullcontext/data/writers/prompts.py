"""What a language model is told when it writes questions, and the JSON it has to reply in.

The wording is ours; the rules are the paper's (IN2, appendix I): a question specific to its text,
answerable from it alone, that never speaks of "the context"; an answer in own words; and for
integration at least two pieces, which the model has to name.
"""

import json
from typing import Any

from fullcontext.data.writers import Asking
from fullcontext.randomness import rng
from fullcontext.store import fingerprint

_RULES = """\
Rules for the question:
- It can be answered completely from the {noun} above, without any other knowledge.
- It is clear and has one right answer. It names the people, things, places and times it is about,
  so that a reader who has not just read the {noun} knows what is meant.
- It does not mention the {noun}: no "according to the text", "in this passage", "mentioned above".
Rules for the answer:
- It is right, and made of what the {noun} says.
- It is in your own words, in one to four sentences; it does not copy whole sentences."""

_ONE = (
    "Here is a passage.\n\n<passage>\n{text}\n</passage>\n\n"
    "Write one question about a detail that only this passage tells, and its answer. A question"
    " that could be asked of any text is of no use.\n\n"
    + _RULES.replace("{noun}", "passage")
    + '\n\nReply with one JSON object and nothing else: {"question": "...", "answer": "..."}'
)

_SEVERAL = (
    "Here is a text in {count} numbered pieces.\n\n{text}\n\n"
    "Write one question {need}, and its answer.\n\n"
    + _RULES.replace("{noun}", "text")
    + "\n- It names no piece by its number.\n\n"
    "Also say which pieces the answer rests on, by number: all that are needed, and no other."
    "\n\nReply with one JSON object and nothing else:"
    ' {"question": "...", "answer": "...", "pieces": [1, 2]}'
)

_NEED = {
    "integration": "whose answer needs facts from at least two of the pieces, brought together by"
    " several steps of thought; no piece alone is enough to answer it",
    "detail": "about a detail that only this text tells",
}

_INSTRUCTION = (
    "Here is a passage, only to give you a topic.\n\n<passage>\n{text}\n</passage>\n\n"
    "Write an instruction that somebody interested in this topic might give to an assistant, and"
    " the assistant's response. The instruction stands on its own: it can be carried out without"
    " the passage, from general knowledge or by writing, and does not mention the passage. The"
    " response is helpful, correct and at most 150 words long."
    '\n\nReply with one JSON object and nothing else: {"question": "the instruction",'
    ' "answer": "the response"}'
)

VERSION = fingerprint([_ONE, _SEVERAL, _NEED, _INSTRUCTION])
"""Changes with every word of the prompts."""


def prompt(asking: Asking) -> str:
    """What is said to the model; a function of the asking alone."""
    texts = [segment.text for segment in asking.segments]
    match asking.kind:
        case "fine_grained":
            return _ONE.replace("{text}", "\n".join(texts))
        case "instruction":
            return _INSTRUCTION.replace("{text}", "\n".join(texts))
        case kind:
            pieces = "\n\n".join(
                f"<piece {i}>\n{text}\n</piece {i}>" for i, text in enumerate(texts, 1)
            )
            need = _NEED["integration" if _integrates(asking) else "detail"]
            if kind not in ("integration", "short_context"):
                raise AssertionError(f"no prompt for {kind}")
            filled = _SEVERAL.replace("{count}", str(len(texts))).replace("{need}", need)
            return filled.replace("{text}", pieces)


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
