"""An endpoint that answers every request well after a fixed time, as its own process.

    python benchmarks/endpoint.py LATENCY_S      prints its URL, then serves until it is ended

It speaks as much of /v1/chat/completions as a client needs, with little work per request, so that
the client is what is measured.
"""

import asyncio
import json
import sys
from contextlib import suppress


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait_s: float) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            request = json.loads(await reader.readexactly(length))
            await asyncio.sleep(wait_s)
            body = json.dumps(_reply(request)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
    writer.close()


def _reply(request: dict[str, object]) -> dict[str, object]:
    """A question and an answer out of the words that were shown."""
    prompt = request["messages"][-1]["content"]
    words = [word.strip(".,;:") for word in prompt.split() if len(word) > 4 and word[0].isalpha()]
    half = len(words) // 2
    said = {
        "question": f"What is said of {' '.join(words[half : half + 6])}?",
        "answer": f"It concerns {' '.join(words[half + 6 : half + 12])}.",
        "pieces": [1, 2],
    }
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": request["model"],
        "choices": [
            {"index": 0, "finish_reason": "stop",
             "message": {"role": "assistant", "content": json.dumps(said)}}
        ],
        "usage": {"prompt_tokens": len(prompt) // 4, "completion_tokens": 40,
                  "total_tokens": len(prompt) // 4 + 40},
    }  # fmt: skip


async def main(wait_s: float) -> None:
    """Serves on a free port of this machine."""
    server = await asyncio.start_server(
        lambda reader, writer: _serve(reader, writer, wait_s), "127.0.0.1", 0, limit=1 << 22
    )
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
