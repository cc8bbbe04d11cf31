"""The body of a chat completion, read with care: servers send what they like."""

import json
from collections.abc import Callable
from typing import Any, TypeGuard

from fullcontext.llm import Completion, Refused, Request
from fullcontext.llm.body import longest_text
from fullcontext.llm.meter import bound


class Failed(Exception):
    """A try without a usable reply; another may have one."""

    def __init__(self, reason: str, retry_after: float | None = None, lost: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds, as the server asked."""
        self.lost = lost
        """Whether a reply may have been written, and billed, that did not arrive."""


def read(content: bytes, request: Request, redacted: Callable[[str], str]) -> Completion:
    """A body as a completion; `redacted` takes out of a text what must not be kept.

    Raises Failed if it is none, Refused if it is not to be used.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise Failed("not JSON", lost=True) from None
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = _text(message.get("content"))
        tokens = _usage(body, request, text)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Failed("no choices", lost=True) from None
    finish = str(choice.get("finish_reason") or "stop")
    if finish == "content_filter":
        raise Refused("content filter", *tokens)
    if not text and message.get("refusal"):
        raise Refused("declined by the model", *tokens, redacted(str(message["refusal"]))[:200])
    if len(text) > longest_text(request.sampling.max_new_tokens):
        raise Refused("reply too long", *tokens)
    return Completion(redacted(text), *tokens, finish)


def _text(content: Any) -> str:
    """The text of a message: a string, nothing, or a list of parts. Raises TypeError.

    JSON can hold halves of characters, which no file takes; they become question marks.
    """
    if content is None:
        return ""
    if not isinstance(content, str):
        content = "".join(part.get("text") or "" for part in content)
    return str(content.encode(errors="replace").decode())


def _usage(body: dict[str, Any], request: Request, text: str) -> tuple[int, int]:
    """Tokens of prompt and reply, as the server counted them; bounds where it says nothing."""
    usage = body.get("usage") or {}
    most_in, most_out = bound(request)
    tokens_in, tokens_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return (
        tokens_in if _is_count(tokens_in) else most_in,
        tokens_out if _is_count(tokens_out) else min(most_out, len(text.encode())),
    )


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and value >= 0
