"""Text to token ids such that pieces can be joined as arrays.

Contexts are joined from arrays that were tokenised once. That is exact only where every tokenizer
puts a boundary whatever stands on either side, and such places are rare: a full stop and the
newline after it are one token in tiktoken-style vocabularies, a space belongs to the next word.
The one rule of this module: **cut only right after a run of newlines, before a character that
is not white space.** SentencePiece has no piece with a newline inside, and the expressions of
byte-level pre-tokenizers end a match there. `encode` reads a piece between two letters at such
places and refuses a tokenizer that merges across.
"""

from functools import lru_cache
from typing import Any, cast

import numpy as np

from fullcontext.compose import ConfigError
from fullcontext.config import Chat, DataConfig
from fullcontext.records import Asked, Ids

_BEFORE, _AFTER = "a\n", "a"


class Encoder:
    """A tokenizer seen as a map from pieces of text to joinable token arrays."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._before = self._ids(_BEFORE)
        self._after = self._ids(_BEFORE + _AFTER)[len(self._before) :]
        self.specials = tuple(str(t) for t in tokenizer.all_special_tokens)
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int = tokenizer.eos_token_id
        self.cached = lru_cache(maxsize=1 << 16)(self.encode)

    def _ids(self, text: str) -> list[int]:
        return cast(list[int], self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, text: str) -> Ids:
        """Ids of a piece that starts after a newline and ends with one.

        Raises ValueError if the tokenizer merges across the piece's ends.
        """
        return self._cut(text, self._ids(_BEFORE + text + _AFTER), self._after)

    def encode_many(self, texts: list[str]) -> list[Ids]:
        """`encode` for many pieces, tokenised in parallel."""
        whole = [_BEFORE + text + _AFTER for text in texts]
        ids = self.tokenizer(whole, add_special_tokens=False)["input_ids"] if whole else []
        return [self._cut(text, i, self._after) for text, i in zip(texts, ids, strict=True)]

    def encode_start(self, text: str) -> Ids:
        """Ids of the very start of a row, which ends with a newline or is empty."""
        if not text:
            return np.zeros(0, np.int32)
        ids = self._ids(text + _AFTER)
        return self._trim(text, ids, 0, len(ids) - len(self._after))

    def encode_end(self, text: str, start_of_row: bool = False) -> Ids:
        """Ids of a piece up to the end of a row; after a newline unless it starts the row."""
        if start_of_row:
            return np.asarray(self._ids(text), np.int32)
        return self._cut(text, self._ids(_BEFORE + text), [])

    def _cut(self, text: str, ids: list[int], after: list[int]) -> Ids:
        if ids[: len(self._before)] != self._before:
            raise ValueError(f"the tokenizer merges a newline with what follows it: {text[:60]!r}")
        return self._trim(text, ids, len(self._before), len(ids) - len(after), after)

    def _trim(
        self, text: str, ids: list[int], start: int, stop: int, after: list[int] | None = None
    ) -> Ids:
        if ids[stop:] != (self._after if after is None else after):
            raise ValueError(f"the tokenizer merges across the end of this piece: {text[-60:]!r}")
        return np.asarray(ids[start:stop], np.int32)


class Prompt:
    """The prompt of an example as joinable token arrays: head, context, tail, answer.

    With the paper's text: head `<s>[INST] Below is ... ### Context:\\n`, then segments joined by
    the separator, then `end` = `\\n\\n`, then `### Instruction:\\n{question} [/INST]`, then
    ` {answer}</s>`. Cuts lie after newlines, so arrays of one context serve any question.
    """

    def __init__(self, config: DataConfig, chat: Chat, encoder: Encoder) -> None:
        self.encoder = encoder
        self.separator = config.separator
        self._with_context = _render(config.prompt, chat, encoder.tokenizer)
        self._closed = _render(config.closed_prompt, chat, encoder.tokenizer)
        self._space, self.end_token = _answer_markup(chat, encoder)
        head, rest = self._with_context.split("{context}")
        self.end = rest[: len(rest) - len(rest.lstrip("\n"))]
        self._tail = rest[len(self.end) :]
        self._bos = chat is not Chat.template and encoder.bos is not None
        self.head = self._start(encoder.encode_start(head))

    def _start(self, ids: Ids) -> Ids:
        return np.concatenate([[self.encoder.bos], ids]).astype(np.int32) if self._bos else ids

    def last(self, text: str) -> Ids:
        """Ids of the last segment of a context together with the newlines that end the context."""
        return self.encoder.cached(text + self.end)

    def ask(self, question: str, answer: str, *, id: str = "", kind: str = "") -> Asked:
        """A question after a context, and its answer."""
        return self._ask(self._tail.replace("{question}", question), answer, id, kind, closed=False)

    def ask_closed(self, question: str, answer: str, *, id: str = "", kind: str = "") -> Asked:
        """A question without a context."""
        return self._ask(
            self._closed.replace("{question}", question), answer, id, kind, closed=True
        )

    def _ask(self, text: str, answer: str, id: str, kind: str, *, closed: bool) -> Asked:
        prompt = self.encoder.encode_end(text, start_of_row=closed)
        whole = self.encoder.encode_end(text + self._space + answer, start_of_row=closed)
        if not np.array_equal(whole[: len(prompt)], prompt):
            raise ValueError(f"the tokenizer merges the prompt with the answer {answer[:60]!r}")
        ends = np.append(whole[len(prompt) :], self.end_token).astype(np.int32)
        return Asked(
            id=id, kind=kind, prompt=self._start(prompt) if closed else prompt, answer=ends
        )

    def text(self, segments: list[str], question: str) -> str:
        """The whole prompt as text, without the beginning-of-sequence token."""
        context = self.separator.join(segments)
        return self._with_context.replace("{context}", context).replace("{question}", question)


def _answer_markup(chat: Chat, encoder: Encoder) -> tuple[str, int]:
    """What stands before an answer, and the token that ends it, by the chat template's own word."""
    tokenizer = encoder.tokenizer
    if chat is not Chat.template:
        return " ", encoder.eos
    turn = [{"role": "user", "content": "Q"}]
    asked = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    turn.append({"role": "assistant", "content": "{answer}"})
    full = tokenizer.apply_chat_template(turn, tokenize=False)
    before, _, after = full.partition("{answer}")
    space = before[len(asked) :] if before.startswith(asked) else ""
    ends = tokenizer(after, add_special_tokens=False)["input_ids"]
    return space, ends[0] if ends and ends[0] in tokenizer.all_special_ids else encoder.eos


def _render(content: str, chat: Chat, tokenizer: Any) -> str:
    match chat:
        case Chat.none:
            return content
        case Chat.inst:
            return f"[INST] {content} [/INST]"
        case Chat.template:
            if not tokenizer.chat_template:
                raise ConfigError(
                    "model.chat=template, but the tokenizer has no chat template;"
                    " set model.chat=inst or model.chat=none"
                )
            turn = [{"role": "user", "content": content}]
            text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            if text.count("{question}") != 1:
                raise ConfigError("the chat template changes the user's text; set model.chat=none")
            return cast(str, text)
