"""Answers with and without the adapter, closed-book and in context; and what they cost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fullcontext.adapt import metrics
from fullcontext.adapt.documents import Given
from fullcontext.adapt.lessons import Text, known
from fullcontext.adapt.training import autocast
from fullcontext.config import AdaptConfig, Mode
from fullcontext.data.tokens import Prompt
from fullcontext.probe.answer import Cached, answer
from fullcontext.records import Asked, Example, Ids

OTHERS = "others"
"""The mode of questions about other documents, in context."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What answering took, on average a question."""

    questions: int
    read_s: float
    """CPU-seconds for what the questions share: the document, or the beginning of the prompt."""
    each_s: float
    """CPU-seconds for a question and its answer, after that."""
    tokens: float
    """Of an answer, on which most of `each_s` depends."""
    left_out: int
    """Tokens of the document that the model did not see."""


class Answering:
    """Asks a model about documents."""

    def __init__(
        self, model: Any, config: AdaptConfig, prompt: Prompt, device: torch.device
    ) -> None:
        self.model, self.config, self.prompt, self.device = model, config, prompt, device

    def ask(self, given: Given, text: Text, mode: str, *, adapted: bool) -> tuple[list[Any], Cost]:
        """A record for each question about a document, and the cost."""
        example, left_out = self._example(given, text, mode)
        settings = self.config.answering
        tokenizer = self.prompt.encoder.tokenizer
        self.model.eval()
        read = self._read(example.context)
        start = time.process_time()
        replies = answer(
            self.model, example, self.prompt.end_token, settings.max_new_tokens,
            self.config.precision,
        )  # fmt: skip
        spent = time.process_time() - start
        records, longest = [], settings.max_new_tokens
        for question, reply in zip(given.questions, replies, strict=True):
            said = tokenizer.decode(reply.tokens, skip_special_tokens=True).strip()
            records.append(
                {
                    "document": given.id, "question": question.id, "kind": question.kind,
                    "mode": mode, "adapted": adapted, "text": question.text, "answer": said,
                    "gold": list(question.answers), "cut": len(reply.tokens) >= longest,
                    "scores": metrics.scores(question.kind, said, question.answers),
                }
            )  # fmt: skip
        number = len(records)
        length = sum(len(reply.tokens) for reply in replies) / number
        return records, Cost(number, read, max(0.0, spent - read) / number, length, left_out)

    def _read(self, context: Ids) -> float:
        """CPU-seconds for reading what the questions share, alone."""
        if not len(context):
            return 0.0
        start = time.process_time()
        with torch.no_grad(), autocast(self.config, self.device):
            Cached(self.model).read(context, np.arange(len(context)), None)
        return time.process_time() - start

    def _example(self, given: Given, text: Text, mode: str) -> tuple[Example, int]:
        """The questions after what they share. Raises ConfigError if one is too long."""
        most = self.config.answering.max_new_tokens
        asked = []
        for question in given.questions:
            ask = self.prompt.ask_closed if mode == Mode.closed_book else self.prompt.ask
            # Gold tokens only spare steps of decoding: no more of them than an answer may have.
            gold = question.answers[0] if question.answers else ""
            made = ask(question.text, gold, id=question.id)
            known(self.prompt, made.prompt, f"question {question.id} of document {given.id}")
            asked.append(replace(made, answer=made.answer[:most]))
        if mode == Mode.closed_book:
            return shared(asked), 0
        head = self.prompt.head("")
        longest = max(len(each.prompt) for each in asked)
        document, left_out = text.within(self.config.answering.limit - len(head) - longest)
        return Example(0, np.concatenate([head, document]), tuple(asked)), left_out


def shared(asked: Sequence[Asked]) -> Example:
    """Closed-book questions after the tokens that their prompts begin with, which are read once."""
    prompts = [each.prompt for each in asked]
    least = min(map(len, prompts)) - 1
    same = np.logical_and.reduce([p[:least] == prompts[0][:least] for p in prompts])
    common = least if same.all() else int(np.argmin(same))
    cut = tuple(replace(each, prompt=each.prompt[common:]) for each in asked)
    return Example(0, prompts[0][:common], cut)
