"""Room for a prompt and its answer: what is over-long is refused, or cut where it is said.

lm-evaluation-harness cuts the *start* of an over-long prompt and goes on: the instruction and the
first documents are gone, and a model looks as if it favoured the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import Long

Encode = Callable[[str], list[int]]
"""Text -> ids as they reach the model."""


@dataclass(slots=True)
class Room:
    """How long a prompt may be, and what happened to those that were longer."""

    length: int
    """Positions of the model: prompt and answer together."""
    long: Long
    new_tokens: int
    """Longest answer of a task that does not say."""
    served: bool = False
    """Whether an endpoint scores choices: it reads their last token, too, and has to say one more,
    where a model in this process only predicts the last."""
    cut: dict[str, set[int]] = field(default_factory=dict)
    """Task -> documents of which a prompt lost its middle."""

    def count_cut(self, request: Any) -> None:
        """Notes that a request's prompt lost its middle."""
        self.cut.setdefault(request.task_name, set()).add(request.doc_id)

    def refuse(self, task: str, requests: Sequence[Any], encode: Encode) -> None:
        """Raises ConfigError if `long=refuse` and any request of a task does not fit."""
        if self.long is Long.middle:
            return
        sizes = [self.size(request, encode) for request in requests]
        over = [size for size in sizes if size > self.length]
        if over:
            documents = len({r.doc_id for r, s in zip(requests, sizes, strict=True) if s in over})
            raise ConfigError(
                f"{documents} documents of {task} do not fit: the longest needs {max(over)}"
                f" tokens with its answer, there are {self.length}; choose long=middle, which"
                " leaves out the middle of such prompts and counts them, or leave the task out"
            )

    def size(self, request: Any, encode: Encode) -> int:
        """Positions that a request takes, its answer counted in."""
        match request.request_type:
            case "generate_until":
                return len(encode(request.args[0])) + self.answer(request.args[1])
            case "loglikelihood":
                return len(encode(request.args[0] + request.args[1])) + (1 if self.served else -1)
            case _:  # rolling log-likelihoods are read in windows
                return 0

    def answer(self, settings: dict[str, Any]) -> int:
        """Tokens that a request may generate."""
        for key in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"):
            if settings.get(key) is not None:
                return int(settings[key])
        return self.new_tokens

    def text(self, prompt: str, answer: int, encode: Encode, decode: Callable[..., str]) -> str:
        """A prompt that fits beside an answer of so many tokens: its first and last halves."""
        ids, room = encode(prompt), self.length - answer
        if room < 2:
            raise ConfigError(
                f"an answer of {answer} tokens leaves no room for a prompt in {self.length}"
                " positions; choose a model with more, or leave the task out"
            )
        if len(ids) > room:
            self._refuse_cutting(len(ids) + answer)
        keep, short = room, prompt
        while len(ids) > room:  # joined halves may tokenise into a token more
            short = decode(halves(encode(prompt), keep))
            ids, keep = encode(short), keep - 1
        return short

    def ids(self, context: list[int], continuation: list[int]) -> list[int]:
        """A context that fits before a continuation; the continuation is never cut."""
        room = self.length + (-1 if self.served else 1) - len(continuation)
        if room < 1:
            raise ConfigError(
                f"a choice of {len(continuation)} tokens is longer than the model's {self.length}"
                " positions; choose a model with more, or leave the task out"
            )
        if len(context) > room:
            self._refuse_cutting(len(context) + len(continuation))
        return halves(context, room)

    def _refuse_cutting(self, needed: int) -> None:
        if self.long is Long.refuse:
            raise ConfigError(
                f"a prompt needs {needed} tokens with its answer, there are {self.length}; choose"
                " long=middle, or leave the task out"
            )


def halves(ids: Sequence[int], keep: int) -> list[int]:
    """The first and last tokens, `keep` in all: 0 1 2 3 4 5 and 4 give 0 1 4 5."""
    if len(ids) <= keep:
        return list(ids)
    first = keep // 2
    return [*ids[:first], *ids[len(ids) - (keep - first) :]]
