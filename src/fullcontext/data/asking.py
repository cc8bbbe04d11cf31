"""Keeps a writer busy: shards are cut ahead, askings sent, outcomes walked in corpus order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fullcontext.data.questions import Outcome
from fullcontext.data.shards import Source
from fullcontext.data.walk import Shard, Walk
from fullcontext.data.writers import Asking
from fullcontext.launch import StopFlag

MOST_OPEN = 8
"""Shards in memory at once; more only wait for one slow reply."""

Ask = Callable[[Asking], Awaitable[Outcome]]


class Interview:
    """One process's walk through the corpus.

    `passed` is called with every shard that the walk has left, in order; `look` after every
    outcome, for progress. Errors and stop signals let the requests in flight come home first:
    their replies are paid for and kept.
    """

    def __init__(
        self,
        walk: Walk,
        source: Source,
        ask: Ask,
        concurrency: int,
        passed: Callable[[Shard], None],
        stop: StopFlag,
    ) -> None:
        self.walk, self.source, self.ask = walk, source, ask
        self.concurrency, self.passed, self.stop = concurrency, passed, stop
        self.part, self.parts = 0, 1
        self.before_opening: Callable[[], None] = lambda: None
        self._sent: dict[asyncio.Task[Outcome], tuple[Shard, int]] = {}
        self._opening: asyncio.Task[Shard | None] | None = None
        self._ended = False

    async def run(self, look: Callable[[], None]) -> None:
        """Until all kinds are full, the corpus ends or a signal comes. Raises what asking does."""
        error: BaseException | None = None
        while error is None and not self.stop.name and not self.walk.full():
            for shard in self.walk.advance():
                self.passed(shard)
            self._open_next()
            self._send()
            waiting: set[asyncio.Task[Any]] = {*self._sent, *filter(None, [self._opening])}
            if not waiting:
                if self._ended:
                    break
                continue
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            error = self._take(done)
            look()
        await self._come_home()
        if error is not None:
            raise error
        for shard in self.walk.advance():
            self.passed(shard)

    def _open_next(self) -> None:
        room = len(self.walk) < MOST_OPEN and self._opening is None and not self._ended
        if room and self.walk.lacks(2 * self.concurrency):
            self.before_opening()
            self._opening = asyncio.create_task(
                asyncio.to_thread(self.source.next, self.walk.is_full, self.part, self.parts)
            )

    def _send(self) -> None:
        while len(self._sent) < self.concurrency and (item := self.walk.next()) is not None:
            shard, place = item
            assert shard.askings is not None
            self._sent[asyncio.create_task(_outcome(self.ask, shard.askings[place]))] = item

    def _take(self, done: set[asyncio.Task[Any]]) -> BaseException | None:
        """Takes what came in; the first error, if any."""
        error: BaseException | None = None
        for task in done:
            failed = task.exception()
            if task is self._opening:
                self._opening = None
                shard = None if failed else task.result()
                if shard is None:
                    self._ended = True
                else:
                    self.walk.open(shard)
            else:
                shard, place = self._sent.pop(task)
                if failed is None:
                    self.walk.settle(shard, place, task.result())
            error = error or failed
        return error

    async def _come_home(self) -> None:
        """Waits for what is in flight; errors beyond the first say the same."""
        waiting: set[asyncio.Task[Any]] = {*self._sent, *filter(None, [self._opening])}
        if waiting:
            self._take((await asyncio.wait(waiting))[0])


async def _outcome(ask: Ask, asking: Asking) -> Outcome:
    return await ask(asking)
