"""The stage `scores`: how good each output is, without a gold answer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from fullcontext.compose import ConfigError
from fullcontext.config import (
    EmbeddingUtility,
    ImproveConfig,
    Precision,
    RougeUtility,
    SelfEvalUtility,
    TokenF1Utility,
)
from fullcontext.data.tokens import Prompt
from fullcontext.improve import scoring
from fullcontext.improve.problems import Problem
from fullcontext.improve.rouge import rouge_l
from fullcontext.improve.squad import token_f1
from fullcontext.probe.answer import Cached, apart

Judge = Callable[[Problem, Sequence[str]], list[float]]
"""A problem and its outputs -> a score for each."""


def judge(config: ImproveConfig, prompt: Prompt, model: Callable[[], Any]) -> Judge:
    """Scores outputs by the utility of a config; `model` loads the sampling model if need be.

    Raises ConfigError if what the utility takes is not here.
    """
    utility = config.utility
    match utility:
        case RougeUtility():
            return lambda _, texts: scoring.bayes(scoring.utilities(texts, rouge_l))
        case TokenF1Utility():
            return lambda _, texts: scoring.bayes(scoring.utilities(texts, token_f1))
        case EmbeddingUtility():
            from fullcontext.improve.embedding import Embedder

            embedder = Embedder(utility)
            return lambda _, texts: embedder.scores(texts)
        case SelfEvalUtility():
            if config.sampler.name != "local":
                raise ConfigError(
                    "utility=self_eval reads probabilities, which an endpoint does not give; choose"
                    " sampler=local, or another utility"
                )
            return SelfJudge(utility, prompt, model(), config.precision).scores
        case _:
            raise AssertionError(utility)


class SelfJudge:
    """The sampling model says how likely it is that an output is right."""

    def __init__(
        self, config: SelfEvalUtility, prompt: Prompt, model: Any, precision: Precision
    ) -> None:
        self.config, self.prompt, self.model, self.precision = config, prompt, model, precision

    @torch.no_grad()
    def scores(self, problem: Problem, texts: Sequence[str]) -> list[float]:
        """p(yes) / (p(yes) + p(no)) of each output; the context runs through the model once."""
        distinct = sorted(set(texts))
        context = self.prompt.shared(problem.before)
        asked = [self._question(problem, text) for text in distinct]
        yes, no = (int(self._first(problem, word)) for word in (self.config.yes, self.config.no))
        if yes == no:
            raise ConfigError(
                f"utility.yes={self.config.yes!r} and utility.no={self.config.no!r} begin with the"
                " same token, so that every output would score 0.5; choose words that differ there"
            )
        cached = Cached(self.model.eval())
        found: list[float] = []
        kind = cached.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision is Precision.bf16):
            cached.read(context, np.arange(len(context)), None)
            for ids in asked:
                places = len(context) + np.arange(len(ids))
                hidden = cached.read(ids, places, apart(len(context), [len(ids)]))
                both = cached.logits(hidden[-1:])[0, [yes, no]].double().softmax(-1)
                found.append(float(both[0]))
                cached.forget(len(context))
        at = dict(zip(distinct, found, strict=True))
        return [at[text] for text in texts]

    def _question(self, problem: Problem, text: str) -> Any:
        asked = f"{problem.after}\n\n{self.config.question.replace('{output}', text)}"
        return self.prompt.follow(asked, "").prompt

    def _first(self, problem: Problem, word: str) -> Any:
        return self.prompt.follow(problem.after, word).answer[0]
