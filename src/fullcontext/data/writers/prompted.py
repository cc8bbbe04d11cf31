"""Questions by a language model, behind an endpoint or in this process."""

from collections.abc import Iterable

from fullcontext.config import Sampling
from fullcontext.data import filters
from fullcontext.data.writers import Asking, Reply, prompts, reading
from fullcontext.llm import Model, Refused, Request, Unanswered
from fullcontext.records import Document

REWRITES = 1
"""Times another reply is asked for where one cannot be used; greedy models would repeat it."""

_TURN = 1 << 20
"""Added for each further question about the same text."""
_SHORT = 100
"""Added to the seed for short contexts: they are shown what integration is shown."""


class Prompted:
    """See the module. Refused and unusable replies are reasons; the caller counts them."""

    def __init__(
        self,
        model: Model,
        sampling: Sampling,
        concurrency: int,
        formats: filters.Format | None,
        version: str,
    ) -> None:
        self.model, self.sampling, self.concurrency = model, sampling, concurrency
        self._format, self.version = formats, version

    def prepare(self, documents: Iterable[Document]) -> None:
        """Nothing: a model sees its segments only."""

    async def reply(self, asking: Asking, seed: int) -> Reply | str:
        """One question, or why there is none. `seed` is not used: a segment is asked once,
        whatever the seed of the store."""
        fault = ""
        for attempt in range(1 + (REWRITES if self.sampling.temperature > 0 else 0)):
            try:
                completion = await self.model.complete(self._request(asking, attempt))
            except Refused as error:
                fault = f"refused ({error})"
                if error.tokens_out:
                    continue  # it did reply, though unusably: another reply may do
                return fault
            except Unanswered as error:
                return f"{filters.NO_REPLY} ({error})"
            reply = self._read(asking, completion.text, completion.finish)
            if isinstance(reply, Reply):
                return reply
            fault = reply
        return fault

    def _read(self, asking: Asking, text: str, finish: str) -> Reply | str:
        if finish == "content_filter":
            return "reply withheld by a content filter"
        shown = 0 if asking.kind == "instruction" else len(asking.segments)
        whole = finish != "length"
        named = prompts.names_pieces(asking)
        reply = reading.read(text, shown, names_pieces=named, whole=whole)
        if isinstance(reply, str):
            return reply if whole else "reply cut at max_new_tokens"
        if len(reply.evidence) < prompts.least_pieces(asking):
            return "fewer pieces named than the question needs"
        fault = self._format.fault(asking.kind, reply) if self._format else None
        return fault or reply

    def _request(self, asking: Asking, attempt: int) -> Request:
        return Request(
            messages=prompts.messages(asking),
            sampling=self.sampling,
            seed=attempt + (_SHORT if asking.kind == "short_context" else 0) + _TURN * asking.turn,
            schema=prompts.schema(asking),
        )
