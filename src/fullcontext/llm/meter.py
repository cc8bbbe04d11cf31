"""What asking costs, and the budget that in-flight requests cannot overspend."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import EndpointConfig, LocalConfig
from fullcontext.llm import Completion, Request

BYTES_PER_TOKEN = 2
"""Fewest bytes of text per token that a bound counts with; English has 4 to 5."""
MESSAGE_TOKENS = 16
"""Most tokens that chat markup adds to a message."""


def bound(request: Request) -> tuple[int, int]:
    """Most tokens of prompt and reply that a request can take."""
    texts = [message.content for message in request.messages]
    if request.schema is not None:
        texts.append(json.dumps(request.schema))
    size = sum(len(text.encode(errors="replace")) for text in texts)
    prompt = size // BYTES_PER_TOKEN + MESSAGE_TOKENS * (len(texts) + 1)
    return prompt, request.sampling.max_new_tokens


@dataclass(eq=False, slots=True)
class Reservation:
    """Tokens set aside for a request in flight."""

    tokens_in: int
    tokens_out: int


class Meter:
    """Counts requests, tokens, money and time of one model; one event loop at a time.

    `share` is the number of processes that work side by side: each has that part of the budget.
    """

    def __init__(self, config: EndpointConfig | LocalConfig, group: str, share: int = 1) -> None:
        priced = config if isinstance(config, EndpointConfig) else None
        self.group = group
        self.share = share
        self.kept: Path | None = None
        """Where replies are kept, for messages; set by the cache."""
        self.requests = 0
        """Tries: what was negotiated or tried again counts each time."""
        self.replies = self.hits = self.refusals = 0
        self.tokens_in = self.tokens_out = 0
        self.lost = 0
        """Tokens that may have been billed for replies which did not arrive whole, at most."""
        self.retries: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        """What else happened that nobody asked for: features an endpoint refused, damaged lines."""
        self._prices = (
            (priced.price_in, priced.price_out) if priced is not None else (None, None)
        )  # money for a million tokens
        self._budget_tokens = priced.budget_tokens if priced is not None else None
        self._budget_money = priced.budget_money if priced is not None else None
        self._earlier_tokens = 0.0
        self._earlier_money = 0.0
        self._lost_money = 0.0
        self._in_flight: set[Reservation] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._began: float | None = None
        self._last = 0.0
        """When the newest reply came."""

    def add_earlier(self, tokens_in: int, tokens_out: int, share: int = 1) -> None:
        """Counts what earlier runs spent against the budget; 1/share of it against this part."""
        self._earlier_tokens += (tokens_in + tokens_out) / share
        self._earlier_money += self._cost(tokens_in, tokens_out) / share

    async def reserve(self, request: Request) -> Reservation:
        """Sets the most aside that a request can take, waiting for others to settle if need be.

        Raises ConfigError when nothing is in flight and the budget does not hold it.
        """
        wanted = Reservation(*bound(request))
        while (short := self._short(wanted)) is not None:
            if not self._in_flight:
                raise ConfigError(short)
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._in_flight.add(wanted)
        if self._began is None:
            self._began = self._last = time.monotonic()
        self.requests += 1
        return wanted

    def settle(self, reservation: Reservation, tokens_in: int, tokens_out: int) -> None:
        """Replaces what was set aside by what was spent."""
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self._release(reservation)

    def settle_lost(self, reservation: Reservation) -> None:
        """The reply did not arrive, but may have been billed: all that was set aside is spent."""
        self.lost += reservation.tokens_in + reservation.tokens_out
        self._lost_money += self._cost(reservation.tokens_in, reservation.tokens_out)
        self._release(reservation)

    def _release(self, reservation: Reservation) -> None:
        self._in_flight.discard(reservation)
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    def _short(self, wanted: Reservation) -> str | None:
        """Why a request does not fit in the budget now; None if it does."""
        flying = [*self._in_flight, wanted]
        tokens = sum(each.tokens_in + each.tokens_out for each in flying)
        money = sum(self._cost(each.tokens_in, each.tokens_out) for each in flying)
        for name, budget, spent, next_ in (
            ("budget_tokens", self._budget_tokens, self._spent_tokens, tokens),
            ("budget_money", self._budget_money, self._spent_money, money),
        ):
            if budget is not None and spent + next_ > budget / self.share:
                part = f" / {self.share} processes" if self.share > 1 else ""
                return (
                    f"{self.group}.{name}={budget:g}{part} is used up: {spent:.6g} spent, earlier"
                    f" runs counted, and the next request may take {next_:.6g}; everything"
                    f" replied so far is kept{self.where}; raise it and run the same command again"
                )
        return None

    @property
    def where(self) -> str:
        """` in FOLDER`, once a cache has said where replies are kept."""
        return f" in {self.kept}" if self.kept is not None else ""

    @property
    def _spent_tokens(self) -> float:
        return self._earlier_tokens + self.tokens_in + self.tokens_out + self.lost

    @property
    def _spent_money(self) -> float:
        return self._earlier_money + self._cost(self.tokens_in, self.tokens_out) + self._lost_money

    def _cost(self, tokens_in: float, tokens_out: float) -> float:
        price_in, price_out = self._prices
        return (tokens_in * (price_in or 0) + tokens_out * (price_out or 0)) / 1e6

    @property
    def money(self) -> float | None:
        """What this run's replies cost; None without prices."""
        if self._prices == (None, None):
            return None
        return self._cost(self.tokens_in, self.tokens_out)

    @property
    def seconds(self) -> float:
        """From the first request to the newest reply."""
        return 0.0 if self._began is None else self._last - self._began

    def count(self, completion: Completion) -> None:
        """A reply arrived."""
        self.replies += 1
        self._last = time.monotonic()
        if completion.finish == "length":
            self.notes["replies cut at max_new_tokens"] += 1

    def summary(self) -> dict[str, Any]:
        """For a manifest: what this run asked, got and paid."""
        return {
            "requests": self.requests,
            "replies": self.replies,
            "refused": self.refusals,
            "from_cache": self.hits,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "tokens_lost_at_most": self.lost,
            "money": None if self.money is None else round(self.money, 6),
            "retries": dict(sorted(self.retries.items())),
            "notes": dict(sorted(self.notes.items())),
            "seconds": round(self.seconds, 1),
        }

    def line(self) -> str:
        """For a progress bar: `412 replies (38 kept), 3.1/s, 210k + 88k tokens, 0.42 spent`."""
        rate = self.replies / max(self.seconds, 1e-9)
        parts = [
            f"{self.replies + self.hits} replies ({self.hits} kept)",
            f"{rate:.1f}/s",
            f"{self.tokens_in / 1000:.0f}k + {self.tokens_out / 1000:.0f}k tokens",
        ]
        if self.money is not None:
            parts.append(f"{self.money:.2f} spent")
        if self.retries:
            parts.append(f"{sum(self.retries.values())} retries")
        return ", ".join(parts)
