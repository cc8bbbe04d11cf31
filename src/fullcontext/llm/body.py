"""HTTP bodies of bounded size: a server that sends without end fills no memory."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2

CHARACTERS_PER_TOKEN = 20
"""Most characters of reply that an allowed token is believed to make; English has 4 to 5."""
SLACK = 2000
"""Characters of reply that are always allowed."""
_BYTES_PER_CHARACTER = 6
"""A character as JSON escapes it."""
_ENVELOPE = 64 * 1024
"""Bytes for what is around the text."""


class TooLong(Exception):
    """A body that is longer than any allowed reply."""


def longest_text(max_new_tokens: int) -> int:
    """Characters above which a reply is refused."""
    return CHARACTERS_PER_TOKEN * max_new_tokens + SLACK


class Bounded(httpx2.AsyncByteStream):
    """A body that ends, or raises TooLong, after `limit` bytes."""

    def __init__(self, stream: Any, limit: int, is_cut: bool) -> None:
        self._stream = stream
        self._limit = limit
        self._is_cut = is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > self._limit:
                if self._is_cut:
                    return
                raise TooLong
            yield chunk

    async def aclose(self) -> None:
        """Closes what is behind it."""
        await self._stream.aclose()


class Client(httpx2.AsyncClient):
    """An HTTP client for `openai` whose bodies are bounded by the longest reply asked for."""

    def __init__(self, concurrency: int, timeout_s: float) -> None:
        self.limit = _ENVELOPE
        super().__init__(
            event_hooks={"response": [self._bound]},
            limits=httpx2.Limits(
                max_connections=concurrency, max_keepalive_connections=concurrency
            ),
            timeout=timeout_s,
            follow_redirects=True,
            # A compressed body would unfold to any size behind the bound.
            headers={"Accept-Encoding": "identity"},
        )

    def expect(self, max_new_tokens: int) -> None:
        """Lets replies of that many tokens through."""
        most = _ENVELOPE + _BYTES_PER_CHARACTER * longest_text(max_new_tokens)
        self.limit = max(self.limit, most)

    async def _bound(self, response: httpx2.Response) -> None:
        is_reply = response.status_code < 300
        size = response.headers.get("content-length", "")
        if is_reply and size.isdigit() and int(size) > self.limit:
            raise TooLong
        # An error page that is too long is cut: its status says what matters.
        response.stream = Bounded(response.stream, self.limit, is_cut=not is_reply)
