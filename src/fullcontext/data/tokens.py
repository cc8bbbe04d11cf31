"""Text to token ids such that pieces can be joined as arrays.

Contexts are joined from arrays that were tokenised once. That is exact only where every tokenizer
puts a boundary whatever stands on either side, and such places are rare: a full stop and the
newline after it are one token in tiktoken-style vocabularies, a space belongs to the next word.
The one rule of this module: **cut only right after a run of newlines, before a character that
is not white space.** SentencePiece has no piece with a newline inside, and the expressions of
byte-level pre-tokenizers end a match there. `encode` reads a piece between two letters at such
places and refuses a tokenizer that merges across.

A second rule saves time where it can be proved for a tokenizer (`words_apart`): a space after a
character that is not white space starts a new token, whatever stands around it. It lets questions
and answers be put together from words whose ids are remembered, and the end of a context be
tokenised without what stands before it; elsewhere the whole is.
"""

import re
from functools import lru_cache
from itertools import chain
from typing import Any, cast

import numpy as np

from fullcontext.config import Chat, DataConfig
from fullcontext.data import markup
from fullcontext.records import Asked, Ids

_BEFORE, _AFTER, _WORD = "a\n", "a", "a"
_WORD_STARTS = re.compile(r"(?<=\S)(?= )")
_EDGES = (
    "a",
    "A",
    "é",
    "你",
    "ß",
    "1",
    "٣",
    ".",
    ",",
    "(",
    ")",
    '"',
    "'",
    "-",
    "$",
    "_",
    "/",
    "🙂",
)
"""Characters of every class that pre-tokenizers tell apart."""


class Encoder:
    """A tokenizer seen as a map from pieces of text to joinable token arrays."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._before = self._ids(_BEFORE)
        self._after = self._ids(_BEFORE + _AFTER)[len(self._before) :]
        self._word = self._ids(_WORD)
        self.words_apart = words_apart(self._backend)
        self.specials = tuple(str(t) for t in tokenizer.all_special_tokens)
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int = tokenizer.eos_token_id
        self.cached = lru_cache(maxsize=1 << 16)(self.encode)
        added = (token.content for token in self._backend.get_added_tokens_decoder().values())
        self._added = re.compile("|".join(map(re.escape, added)) or r"(?!)")
        self._line_start = lru_cache(maxsize=1 << 16)(self._encode_line_start)
        self._next_word = lru_cache(maxsize=1 << 16)(self._encode_next_word)

    def _ids(self, text: str) -> list[int]:
        # The back end itself, without offsets: a quarter of the time of calling the tokenizer.
        found = self._backend.encode_batch_fast([text], add_special_tokens=False)
        return cast(list[int], found[0].ids)

    def encode(self, text: str) -> Ids:
        """Ids of a piece that starts after a newline and ends with one.

        Raises ValueError if the tokenizer merges across the piece's ends.
        """
        return self._cut(text, self._ids(_BEFORE + text + _AFTER), self._after)

    def encode_many(self, texts: list[str]) -> list[Ids]:
        """`encode` for many pieces, tokenised in parallel."""
        whole = [_BEFORE + text + _AFTER for text in texts]
        found = self._backend.encode_batch_fast(whole, add_special_tokens=False)
        return [self._cut(text, f.ids, self._after) for text, f in zip(texts, found, strict=True)]

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
        if not self.has_words(text):
            return np.asarray(self._encode_line_start(text), np.int32)
        first, *others = _WORD_STARTS.split(text)
        return self._words(self._line_start(first), others)

    def has_words(self, text: str) -> bool:
        """Whether a text may be tokenised word by word: it holds no token with rules of its own."""
        return self.words_apart and not self._added.search(text)

    def _words(self, start: list[int], others: list[str]) -> Ids:
        return np.array([*start, *chain.from_iterable(map(self._next_word, others))], np.int32)

    def _encode_line_start(self, text: str) -> list[int]:
        return cast(list[int], self._cut(text, self._ids(_BEFORE + text), []).tolist())

    def _encode_next_word(self, text: str) -> list[int]:
        return self._ids(_WORD + text)[len(self._word) :]

    def encode_word(self, text: str) -> Ids:
        """Ids of a piece up to the end of a row, which starts with a space after a word.

        Exact only where `has_words` holds of it and of what stands before it.
        """
        return self._words([], _WORD_STARTS.split(text))

    def encode_last_word(self, text: str) -> Ids:
        """Ids of a piece that starts with a space after a word and ends with a newline.

        Exact only where `words_apart` holds.
        """
        ids = self._ids(_WORD + text + _AFTER)
        return self._trim(text, ids, len(self._word), len(ids) - len(self._after))

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


def words_apart(backend: Any) -> bool:
    """Whether a space after a character that is not white space always starts a new token.

    True for BPE after a pre-tokenizer that splits there, as every byte-level one does (tried on
    all pairs of character classes; none looks further back), and for SentencePiece without a piece
    that goes on over a space.
    """
    if type(backend.model).__name__ != "BPE":
        return False
    split = backend.pre_tokenizer
    if split is None:
        spaced = (
            backend.normalizer is not None and backend.normalizer.normalize_str("a b") == "▁a▁b"
        )
        return spaced and not any("▁" in piece.lstrip("▁") for piece in backend.get_vocab())
    return all(
        len(left) in {start for _, (start, _) in split.pre_tokenize_str(f"{left} {right}")}
        for left in _EDGES
        for right in _EDGES
    )


class Prompt:
    """The prompt of an example as joinable token arrays: head, context, tail, answer.

    With the paper's text: head `<s>[INST] Below is ... ### Context:\\n`, then segments joined by
    the separator, then `end` = `\\n\\n`, then `### Instruction:\\n{question} [/INST]`, then
    ` {answer}</s>`. Cuts lie after newlines, so arrays of one context serve any question, unless
    `asks_before`: then the head holds the question.
    """

    def __init__(self, config: DataConfig, chat: Chat, encoder: Encoder) -> None:
        self.encoder = encoder
        self.separator = config.separator
        self._closed = markup.render(config.closed_prompt, chat, encoder.tokenizer)
        self._space, self.end_token = markup.around_answer(chat, encoder.tokenizer)
        self._head, rest = markup.around_context(config, chat, encoder.tokenizer)
        self._bare = markup.around_context(config, Chat.none, encoder.tokenizer)
        self.end = rest[: len(rest) - len(rest.lstrip("\n"))]
        self._tail = rest[len(self.end) :]
        self._end = np.array([self.end_token], np.int32)
        self._bos = chat is not Chat.template and encoder.bos is not None
        self._user = markup.around_text(chat, encoder.tokenizer)
        self.asks_before = "{question}" in self._head
        self._plain_head = self._start(encoder.encode_start(self._head))
        self._last_word = lru_cache(maxsize=1 << 16)(self._encode_last_word)

    def _start(self, ids: Ids) -> Ids:
        return np.concatenate([[self.encoder.bos], ids]).astype(np.int32) if self._bos else ids

    def head(self, question: str) -> Ids:
        """Ids of what stands before the context of a question; the same for all questions unless
        `asks_before`."""
        if not self.asks_before:
            return self._plain_head
        return self._start(self.encoder.encode_start(self._head.replace("{question}", question)))

    def last(self, text: str) -> Ids:
        """Ids of the last segment of a context together with the newlines that end the context."""
        return self.encoder.cached(text + self.end)

    def ending(self, tokens: Ids, text: bytes) -> Ids:
        """`last` of a segment in UTF-8 whose ids with the separator are known.

        Only its last word is tokenised again, where that is provably the same.
        """
        cut = text.rfind(b" ")
        if cut > 0 and self.encoder.words_apart:
            before = text[max(0, cut - 4) : cut].decode("utf-8", "ignore")
            old, new = self._last_word(text[cut:].decode())
            known = len(tokens) - len(old)
            if not before[-1].isspace() and np.array_equal(tokens[known:], old):
                return np.concatenate([tokens[:known], new])
        return self.last(text.decode())

    def _encode_last_word(self, word: str) -> tuple[Ids, Ids]:
        encode = self.encoder.encode_last_word
        return encode(word + self.separator), encode(word + self.end)

    def ask(self, question: str, answer: str, *, id: str = "", kind: str = "") -> Asked:
        """A question after a context, and its answer."""
        return self._ask(self._tail.replace("{question}", question), answer, id, kind, closed=False)

    def ask_closed(self, question: str, answer: str, *, id: str = "", kind: str = "") -> Asked:
        """A question without a context."""
        return self._ask(
            self._closed.replace("{question}", question), answer, id, kind, closed=True
        )

    def shared(self, before: str) -> Ids:
        """Ids of the beginning of a user's text, which ends with a newline, after the mark-up."""
        return self._start(self.encoder.encode_start(self._user[0] + before))

    def follow(self, after: str, answer: str) -> Asked:
        """The rest of a user's text, which begins with no white space, and an answer to it.

        Raises ValueError if the tokenizer merges the two.
        """
        return self._ask(after + self._user[1], answer, "", "", closed=False)

    def _ask(self, text: str, answer: str, id: str, kind: str, *, closed: bool) -> Asked:
        prompt = self.encoder.encode_end(text, start_of_row=closed)
        said = self._said(text, self._space + answer, prompt, closed=closed)
        return Asked(
            id=id,
            kind=kind,
            prompt=self._start(prompt) if closed else prompt,
            answer=np.concatenate([said, self._end]),
        )

    def _said(self, text: str, answer: str, prompt: Ids, *, closed: bool) -> Ids:
        """Ids of an answer as they follow its prompt, end token left out."""
        word = answer[:1] == " " and not answer[1:2].isspace() and text and not text[-1].isspace()
        if word and self.encoder.has_words(text + answer):
            return self.encoder.encode_word(answer)
        if text.endswith("\n") and answer and not answer[0].isspace():
            return self.encoder.encode_end(answer)
        whole = self.encoder.encode_end(text + answer, start_of_row=closed)
        if not np.array_equal(whole[: len(prompt)], prompt):
            raise ValueError(f"the tokenizer merges the prompt with the answer {answer[:60]!r}")
        return whole[len(prompt) :]

    def text(self, segments: list[str], question: str) -> str:
        """The whole prompt as text, without the beginning-of-sequence token."""
        head, tail = (part.replace("{question}", question) for part in (self._head, self._tail))
        return head + self.separator.join(segments) + self.end + tail

    def around(self, question: str, *, bare: bool = False) -> tuple[str, str]:
        """What stands before and after the joined segments of a context, the beginning-of-sequence
        token written out; `bare` leaves all markup out, as the user would say it."""
        start = self.encoder.tokenizer.bos_token if self._bos and not bare else ""
        head, tail = self._bare if bare else (start + self._head, self.end + self._tail)
        return head.replace("{question}", question), tail.replace("{question}", question)
