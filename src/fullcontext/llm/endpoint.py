"""A model behind an OpenAI-compatible endpoint: OpenAI, vLLM, `transformers serve`."""

import asyncio
import ipaddress
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import openai
import tenacity

from fullcontext.compose import ConfigError
from fullcontext.config import EndpointConfig
from fullcontext.llm import Completion, Refused, Request, Unanswered
from fullcontext.llm.body import Client, TooLong
from fullcontext.llm.dialect import Dialect
from fullcontext.llm.meter import Meter, bound
from fullcontext.llm.reply import Failed, read
from fullcontext.randomness import rng

_SETTINGS_AT_FAULT = (401, 402, 403, 404, 405, 410)
_TRIED_AGAIN = (408, 409, 425, 429)
_NEVER_WORKS = "insufficient_quota"
"""OpenAI's code for an account without money; its status is 429 all the same."""


class _Malformed(Exception):
    """The server does not take the request in this form."""

    def __init__(self, status: int, complaint: str) -> None:
        super().__init__(complaint)
        self.status = status


class Endpoint:
    """Completes through HTTP, so many requests at once, so many tries each.

    It belongs to the event loop of its first request.
    Raises ConfigError if the key is missing; from `complete`, if key, address or model are wrong,
    the budget is used up, or the endpoint is dead.
    """

    def __init__(self, config: EndpointConfig, group: str, meter: Meter) -> None:
        self.name = config.model
        self._config = config
        self._group = group
        self._meter = meter
        key = api_key(config, group)
        self._secret = key
        self._http = Client(config.concurrency, config.timeout_s)
        self._client: Any = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=config.base_url,
            max_retries=0,
            http_client=self._http,
            timeout=config.timeout_s,
        )
        self._slots = asyncio.Semaphore(config.concurrency)
        self._dialect = Dialect.fullest(config.structured)
        self._proven: set[str] = set()
        self._fruitless = 0
        self._dead: str | None = None

    async def complete(self, request: Request) -> Completion:
        """The reply. Raises Refused, Unanswered and ConfigError."""
        async with self._slots:
            if self._dead is not None:
                raise ConfigError(self._dead)
            try:
                completion: Completion = await self._tries(request)(self._negotiate, request)
            except Failed as error:
                self._count_fruitless(str(error), "is dead", "start it")
                tries = f"{self._config.tries} tries"
                raise Unanswered(f"no reply after {tries}: {error}") from error
            except Refused as refusal:
                self._meter.refusals += 1
                refusal.is_final = bool(self._meter.replies)
                if not refusal.is_final:
                    reason = f"{refusal} {refusal.detail}".strip()
                    self._count_fruitless(reason, "refuses everything", "correct the settings")
                raise
        self._fruitless = 0
        self._meter.count(completion)
        return completion

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    def _count_fruitless(self, reason: str, state: str, remedy: str) -> None:
        self._fruitless += 1
        if self._fruitless >= self._config.give_up_after:
            self._dead = (
                f"the endpoint {self._group}.base_url={self._config.base_url} {state}:"
                f" {self._fruitless} requests in a row without a reply, the last one: {reason};"
                f" everything replied so far is kept{self._meter.where}; {remedy} and run the same"
                " command again"
            )
            raise ConfigError(self._dead)

    def _tries(self, request: Request) -> tenacity.AsyncRetrying:
        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            after = error.retry_after if isinstance(error, Failed) else None
            jitter = rng(request.seed, f"pause {request.key(self.name)}", state.attempt_number)
            share = jitter.random()
            longest = self._config.longest_pause_s
            if after is not None:
                return min(longest, max(0.0, after) * (1 + 0.1 * share))
            return min(longest, 2.0 ** (state.attempt_number - 1)) * (0.5 + 0.5 * share)

        def count(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self._meter.retries[str(error)] += 1

        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._config.tries),
            wait=pause,
            retry=tenacity.retry_if_exception_type(Failed),
            before_sleep=count,
            reraise=True,
        )

    async def _negotiate(self, request: Request) -> Completion:
        """One try, in the fullest form that the endpoint is not known to refuse."""
        dialect = self._dialect
        dropped: list[str] = []
        while True:
            try:
                completion = await self._ask(request, dialect)
            except _Malformed as error:
                suspect = dialect.suspect(str(error), request, self._proven)
                if suspect is None:
                    raise Refused(f"HTTP {error.status}", detail=str(error)) from error
                dialect = dialect.without(suspect)
                dropped.append(suspect)
                continue
            break
        if completion.tokens_out > request.sampling.max_new_tokens and dialect.has_completion_limit:
            # It takes max_completion_tokens and pays no heed to it.
            dropped.append("max_completion_tokens")
            dialect = dialect.without("max_completion_tokens")
        self._proven.update(dialect.features(request))
        self._dialect = self._dialect.common(dialect)
        self._meter.notes.update(f"without {feature}: not understood" for feature in dropped)
        return completion

    async def _ask(self, request: Request, dialect: Dialect) -> Completion:
        """Sends a request once, within the budget."""
        reservation = await self._meter.reserve(request)
        try:
            completion = await self._send(request, dialect)
        except Refused as refusal:
            self._meter.settle(reservation, refusal.tokens_in, refusal.tokens_out)
            raise
        except (Failed, _Malformed, ConfigError) as error:
            if isinstance(error, Failed) and error.lost:
                self._meter.settle_lost(reservation)
            else:
                self._meter.settle(reservation, 0, 0)
            raise
        except BaseException:
            self._meter.settle_lost(reservation)
            raise
        self._meter.settle(reservation, completion.tokens_in, completion.tokens_out)
        return completion

    async def _send(self, request: Request, dialect: Dialect) -> Completion:
        self._http.expect(request.sampling.max_new_tokens)
        try:
            # The whole request is limited: a server that trickles is never idle for long.
            async with asyncio.timeout(self._config.timeout_s):
                # Not chat.completions.create: it walks through the body by its type hints first.
                content: bytes = await self._client.post(
                    "/chat/completions", body=dialect.body(self.name, request), cast_to=bytes
                )
        except TooLong:
            raise Refused("reply too long", *bound(request)) from None
        except (TimeoutError, openai.APITimeoutError):
            raise Failed("time-out", lost=True) from None
        except openai.APIConnectionError as error:
            never_sent = "Connect" in type(error.__cause__).__name__
            raise Failed("no connection" if never_sent else "cut body", lost=not never_sent) from (
                None
            )
        except openai.APIStatusError as error:
            raise self._verdict(error) from None
        return read(content, request, self._redacted)

    def _verdict(self, error: openai.APIStatusError) -> Exception:
        """What a status other than 200 means."""
        status = error.status_code
        complaint = self._redacted(_complaint(error))
        if status in _SETTINGS_AT_FAULT or error.code == _NEVER_WORKS:
            config = self._config
            return ConfigError(
                f"{self._group}.base_url={config.base_url} with model {config.model!r} and the key"
                f" of {self._group}.key_variable={config.key_variable} replies HTTP {status}"
                f" ({complaint}); correct which of the three is wrong"
            )
        if status in _TRIED_AGAIN or status >= 500:
            after = retry_after(error.response.headers.get("retry-after"))
            return Failed(f"HTTP {status}", after)
        if status in (400, 422):
            return _Malformed(status, complaint)
        return Refused(f"HTTP {status}", detail=complaint)

    def _redacted(self, text: str) -> str:
        """Without the key, which a server may echo."""
        return text.replace(self._secret, "(key)") if self._secret else text


def api_key(config: EndpointConfig, group: str) -> str | None:
    """The key, of the environment alone; None where a local server needs none.

    Raises ConfigError if the endpoint is elsewhere and the variable is unset.
    """
    key = os.environ.get(config.key_variable, "").strip()
    if key:
        return key
    if not is_local(config.base_url):
        raise ConfigError(
            f"{group}.base_url={config.base_url} needs a key, but the environment variable"
            f" {config.key_variable} ({group}.key_variable) is unset; export it (any value will do"
            " for a server that checks none)"
        )
    return None


def is_local(url: str) -> bool:
    """Whether a URL leads to this machine or its network: loopback, private, or a bare name."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_private
    return "." not in host


def retry_after(header: str | None, now: Callable[[], datetime] | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, given as such or as an HTTP date."""
    if header is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(header))
    with suppress(ValueError, TypeError):
        at = parsedate_to_datetime(header)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (at - (now() if now else datetime.now(UTC))).total_seconds())
    return None


def _complaint(error: openai.APIStatusError) -> str:
    """What a server says is wrong, with the parameter it names, cut to a few lines."""
    body = error.body if isinstance(error.body, dict) else {}
    said = str(body.get("message") or body.get("detail") or error.message)
    return f"{error.param}: {said}"[:300] if error.param else said[:300]
