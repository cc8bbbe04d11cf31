"""Asks a model behind an OpenAI-compatible endpoint, the questions of a context one after another.

The context is the beginning of every prompt, so a server with prefix caching reads it once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fullcontext import llm
from fullcontext.compose import ConfigError
from fullcontext.config import Chat, DataConfig, OpenAIAnswerer, Sampling
from fullcontext.data import markup
from fullcontext.data.tokens import Prompt
from fullcontext.llm.cache import Remembered
from fullcontext.llm.meter import Meter
from fullcontext.probe.asking import row
from fullcontext.probe.contexts import ProbeContext
from fullcontext.probe.items import Query
from fullcontext.records import Answer

log = logging.getLogger("fullcontext")


class Remote:
    """The endpoint of a configuration; every reply is kept on disk and never asked for again.

    Raises ConfigError if the endpoint cannot be used (llm.load).
    """

    def __init__(
        self, config: OpenAIAnswerer, data: DataConfig, prompt: Prompt, max_new_tokens: int
    ) -> None:
        self.config = config
        self.meter = Meter(config, "answerer")
        self.refused: Counter[str] = Counter()
        self._sampling = Sampling(
            temperature=config.temperature, top_p=config.top_p, max_new_tokens=max_new_tokens
        )
        self._separator = prompt.separator
        # The server puts the user's text into its own chat template.
        self._around = markup.around_context(data, Chat.none, prompt.encoder.tokenizer)

    def answers(
        self, sets: Iterable[ProbeContext], window: int, seed: int, kept: Callable[[Answer], None]
    ) -> None:
        """Calls `kept` with each answer, in the order in which they come.

        Raises ConfigError where going on is pointless. A request the endpoint refuses has no
        answer: it is counted in `refused` by reason.
        """
        asyncio.run(self._answers(sets, window, seed, kept))

    async def _answers(
        self, sets: Iterable[ProbeContext], window: int, seed: int, kept: Callable[[Answer], None]
    ) -> None:
        endpoint = llm.load(self.config, "answerer", self.meter)
        model = Remembered(endpoint, Path(self.config.cache), "probe", self.meter)
        pending: set[asyncio.Task[Answer | None]] = set()
        try:
            for each, query in _in_order(sets):
                if len(pending) >= self.config.concurrency:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    _keep(done, kept)
                asking = self._ask(model, each, query, window, seed)
                pending.add(asyncio.create_task(asking))
            if pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
                _keep(done, kept)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            await model.close()

    async def _ask(
        self, model: llm.Model, asked: ProbeContext, query: Query, window: int, seed: int
    ) -> Answer | None:
        request = llm.Request((llm.Message("user", self.text(asked, query)),), self._sampling, seed)
        try:
            reply = await model.complete(request)
        except llm.Refused as refusal:
            self.refused[str(refusal)] += 1
            return None
        except llm.Unanswered as error:
            raise ConfigError(
                f"a question of {asked.task} has no answer ({error}); what was answered is kept:"
                " run the same command again"
            ) from error
        return row(asked, query, reply.text.strip(), window)

    def text(self, asked: ProbeContext, query: Query) -> str:
        """What the user says: instruction, context, question."""
        head, tail = (part.replace("{question}", query.question) for part in self._around)
        return head + self._separator.join(item.text for item in asked.items) + tail


def _in_order(sets: Iterable[ProbeContext]) -> Iterator[tuple[ProbeContext, Query]]:
    return ((each, query) for each in sets for query in each.queries)


def _keep(done: Iterable["asyncio.Task[Answer | None]"], kept: Callable[[Answer], None]) -> None:
    """Keeps what was answered, then raises what went wrong beside it."""
    failed = [error for task in done if (error := task.exception())]
    for task in done:
        if task.exception() is None and (answer := task.result()) is not None:
            kept(answer)
    if failed:
        raise failed[0]
