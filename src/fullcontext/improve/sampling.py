"""The stage `outputs`: what a model says to each problem, and its greedy answer."""

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext import llm
from fullcontext.compose import ConfigError
from fullcontext.config import ImproveConfig, LocalSampler, OpenAISampler, Sampling
from fullcontext.data.tokens import Prompt
from fullcontext.improve.decoding import Drawn, Draws, Sampler
from fullcontext.improve.problems import Problem
from fullcontext.improve.work import Record
from fullcontext.launch import StopFlag
from fullcontext.llm.cache import Remembered
from fullcontext.llm.meter import Meter
from fullcontext.randomness import rng

log = logging.getLogger("fullcontext")


class LocalOutputs:
    """Of a model in this process."""

    def __init__(self, config: ImproveConfig, prompt: Prompt, model: Any) -> None:
        settings = config.sampler
        assert isinstance(settings, LocalSampler)
        self.prompt, self.seed, self.settings = prompt, config.seed, settings
        ends = frozenset({prompt.end_token, prompt.encoder.eos})
        self.sampler = Sampler(model.eval(), ends, settings, settings.at_once, config.precision)

    def record(self, problem: Problem) -> Record:
        """The outputs of a problem, as they are kept."""
        shared = self.prompt.shared(problem.before)
        asked = self.prompt.follow(problem.after, "").prompt
        draws = [Draws(self.seed, problem.id, i) for i in range(self.settings.number)]
        drawn, greedy = self.sampler.outputs(
            np.concatenate([shared, asked]), draws, greedy=self.settings.greedy
        )
        return {
            "id": problem.id,
            "outputs": [self._said(each) for each in drawn],
            "greedy": self._said(greedy) if greedy is not None else None,
        }

    def _said(self, drawn: Drawn) -> Record:
        text = self.prompt.encoder.tokenizer.decode(drawn.tokens, skip_special_tokens=True)
        return {"text": text.strip(), "tokens": len(drawn.tokens), "is_whole": drawn.is_whole}


class ServedOutputs:
    """Of a model behind an endpoint: every reply is kept when it arrives (llm/cache.py)."""

    def __init__(self, config: ImproveConfig) -> None:
        assert isinstance(config.sampler, OpenAISampler)
        self.settings, self.seed = config.sampler, config.seed
        self.meter = Meter(self.settings, "sampler", config.parts)
        self.part = str(config.part)

    async def _records(self, problems: list[Problem], keep: Any, stop: StopFlag) -> None:
        endpoint = llm.load(self.settings, "sampler", self.meter)
        model = Remembered(endpoint, Path(self.settings.cache), self.part, self.meter)
        try:
            # Several problems at a time keep `concurrency` requests in flight.
            together = -(-2 * self.settings.concurrency // self.settings.number)
            for start in range(0, len(problems), together):
                some = problems[start : start + together]
                for record in await asyncio.gather(*(self._record(model, p) for p in some)):
                    keep(record)
                if stop.name:
                    return
        finally:
            await model.close()
            log.info("%s: %s", self.settings.model, self.meter.line())

    def records(self, problems: list[Problem], keep: Any, stop: StopFlag) -> None:
        """Calls `keep` with the record of each problem.

        Raises ConfigError where going on is pointless, and SystemExit(75) after a stop signal; what
        was replied is kept.
        """
        asyncio.run(self._records(problems, keep, stop))
        stop.heed()

    async def _record(self, model: llm.Model, problem: Problem) -> Record:
        refused: Counter[str] = Counter()
        numbers = list(range(self.settings.number))
        asked = [self._output(model, problem, number, refused) for number in numbers]
        if self.settings.greedy:
            asked.append(self._output(model, problem, None, refused))
        said = await asyncio.gather(*asked)
        greedy = said.pop() if self.settings.greedy else None
        return {
            "id": problem.id,
            "outputs": [each for each in said if each is not None],
            "greedy": greedy,
            "refused": dict(refused),
        }

    async def _output(
        self, model: llm.Model, problem: Problem, number: int | None, refused: Counter[str]
    ) -> Record | None:
        settings = self.settings
        sampling = Sampling(
            temperature=settings.temperature if number is not None else 0.0,
            top_p=settings.top_p if number is not None else 1.0,
            max_new_tokens=settings.max_new_tokens,
        )
        seed = int(rng(self.seed, f"sample {problem.id}", number or 0).integers(2**31))
        message = llm.Message("user", problem.before + problem.after)
        try:
            reply = await model.complete(llm.Request((message,), sampling, seed))
        except llm.Refused as refusal:
            refused[str(refusal)] += 1
            return None
        except llm.Unanswered as error:
            raise ConfigError(
                f"an output of {problem.id} did not come ({error}); what came is kept: run the same"
                " command again"
            ) from error
        whole = reply.finish == "stop"
        return {"text": reply.text.strip(), "tokens": reply.tokens_out, "is_whole": whole}
