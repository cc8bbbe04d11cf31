"""A real HTTP server that speaks /v1/chat/completions and misbehaves as it is told.

    with FaultServer(lambda request, count: Good() if count else Status(429)) as server:
        ... server.url ...

The behaviour gets the JSON of each request and how many came before it (0, 1, ...), and says what
becomes of it. All requests are recorded, and how many were open at once.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Good:
    """A whole reply, after `wait_s` seconds."""

    text: str | None = "yes"
    finish: str = "stop"
    wait_s: float = 0.0
    tokens: tuple[int, int] | None = (10, 5)
    """Of prompt and reply, as the usage says; None leaves the usage out."""
    message: dict[str, Any] | None = None
    """What else stands in the message."""


@dataclass(frozen=True)
class Status:
    """An error, in OpenAI's form."""

    code: int
    message: str = "no"
    param: str | None = None
    after: str | None = None
    """Retry-After."""
    kind: str | None = None
    """The code within the body."""


@dataclass(frozen=True)
class Raw:
    """A body as it is, with status 200."""

    body: bytes


@dataclass(frozen=True)
class Cut:
    """A body whose Content-Length is not reached before the connection closes."""


@dataclass(frozen=True)
class Hang:
    """No reply for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Trickle:
    """A byte now and then, for so many seconds."""

    seconds: float
    every_s: float = 0.02


@dataclass(frozen=True)
class Endless:
    """A body of unknown length, so many bytes of text."""

    size: int = 10_000_000


Behaviour = Good | Status | Raw | Cut | Hang | Trickle | Endless
Decide = Callable[[dict[str, Any], int], Behaviour]


class FaultServer:
    """Serves on a free port of 127.0.0.1 while the block runs."""

    def __init__(self, decide: Decide = lambda request, count: Good()) -> None:
        self.decide = decide
        self.requests: list[dict[str, Any]] = []
        """JSON of all requests, in the order of arrival."""
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self.sent = 0
        """Bytes of body that went out for `Endless`."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.faults = self

    @property
    def url(self) -> str:
        """The base_url."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def asked(self) -> list[str]:
        """What the last message of each request said."""
        return [request["messages"][-1]["content"] for request in self.requests]

    def __enter__(self) -> "FaultServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def enter(self, request: dict[str, Any], headers: dict[str, str]) -> Behaviour:
        """A request arrived."""
        with self._lock:
            count = len(self.requests)
            self.requests.append(request)
            self.headers.append(headers)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        return self.decide(request, count)

    def leave(self) -> None:
        """A request is done."""
        with self._lock:
            self.open -= 1

    def wait(self, seconds: float) -> bool:
        """Whether the server still runs after that time."""
        return not self._stopping.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    faults: FaultServer

    def handle_error(self, *args: object) -> None:
        """Says nothing of clients that were killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *args: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        """One request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        faults = self.server.faults
        try:
            behaviour = faults.enter(body, {k.lower(): v for k, v in self.headers.items()})
            with suppress(BrokenPipeError, ConnectionResetError):
                self._act(behaviour, body["model"])
        finally:
            faults.leave()

    def _act(self, behaviour: Behaviour, model: str) -> None:  # noqa: C901 - a case a behaviour
        faults = self.server.faults
        match behaviour:
            case Good():
                if behaviour.wait_s:
                    faults.wait(behaviour.wait_s)
                self._send(200, _completion(behaviour, model))
            case Status(code, message, param, after, kind):
                error = {"message": message, "param": param, "code": kind, "type": "error"}
                headers = {} if after is None else {"Retry-After": after}
                self._send(code, json.dumps({"error": error}).encode(), headers)
            case Raw(body):
                self._send(200, body)
            case Cut():
                self._begin(200, {"Content-Length": "1000"})
                self.wfile.write(b'{"choices": [{"mess')
                self._hang_up()
            case Hang(seconds):
                faults.wait(seconds)
                self._hang_up()
            case Trickle(seconds, every_s):
                self._begin(200, {"Content-Length": "50000"})
                until = time.monotonic() + seconds
                while time.monotonic() < until and faults.wait(every_s):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                self._hang_up()
            case Endless(size):
                self._begin(200, {"Transfer-Encoding": "chunked"})
                while faults.sent < size:
                    self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                    faults.sent += 0x10000
                self.wfile.write(b"0\r\n\r\n")

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._begin(status, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


def _completion(reply: Good, model: str) -> bytes:
    message = {"role": "assistant", "content": reply.text, **(reply.message or {})}
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
    }
    if reply.tokens is not None:
        tokens_in, tokens_out = reply.tokens
        body["usage"] = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        }
    return json.dumps(body).encode()
