"""What the tests of this folder ask, and how."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fullcontext.config import OpenAIWriter
from fullcontext.llm import Completion, Message, Request
from fullcontext.llm.endpoint import Endpoint
from fullcontext.llm.meter import Meter

KEY = "sk-never-to-be-seen-4711"


def config(url: str, **settings: Any) -> OpenAIWriter:
    """A writer at a test server: three tries, pauses of at most 0.01 s."""
    given = {"tries": 3, "longest_pause_s": 0.01, "timeout_s": 5.0, "max_new_tokens": 20}
    return OpenAIWriter(base_url=url, model="m", **{**given, **settings})


def request(text: str, settings: OpenAIWriter, seed: int = 0, schema: Any = None) -> Request:
    """A request of one user message."""
    return Request((Message("user", text),), settings, seed, schema)


def ask(
    settings: OpenAIWriter, *texts: str, schema: Any = None, meter: Meter | None = None
) -> tuple[list[Completion | BaseException], Meter]:
    """Asks all at once; gives replies or exceptions, in order, and what it cost."""
    meter = meter or Meter(settings, "writer")

    async def main() -> list[Completion | BaseException]:
        endpoint = Endpoint(settings, "writer", meter)
        requests = [request(text, settings, schema=schema) for text in texts]
        replies = await asyncio.gather(
            *(endpoint.complete(each) for each in requests), return_exceptions=True
        )
        await endpoint.close()
        return replies

    return asyncio.run(main()), meter


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Runs a coroutine function to its end."""
    return asyncio.run(main())
