"""A server that speaks /v1/completions and /v1/chat/completions with a model behind it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch


class Serving:
    """What was asked, and what makes it fail."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.fails = False
        self.lock = threading.Lock()

    def reply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/chat/completions"):
            text = f"said {body['messages'][-1]['content'][:9]}"
            return {"choices": [{"index": 0, "message": {"content": text}}]}
        prompt = body["prompt"]
        if isinstance(prompt, str):
            prompts = [self.tokenizer(prompt)["input_ids"]]
        else:
            prompts = prompt if isinstance(prompt[0], list) else [prompt]
        choices = [
            self._scored(ids) if body.get("echo") else self._said(ids, body) for ids in prompts
        ]
        return {"choices": [{"index": i, **choice} for i, choice in enumerate(choices)]}

    def _said(self, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            out = self.model.generate(
                torch.tensor([ids]),
                max_new_tokens=body["max_tokens"],
                do_sample=False,
                pad_token_id=0,
            )
        return {"text": self.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)}

    def _scored(self, ids: list[int]) -> dict[str, Any]:
        with torch.no_grad():
            logp = self.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        own = [None, *logp[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0].tolist()]
        top = [None, *({"t": value} for value in logp[:-1].max(-1).values.tolist())]
        # One token more was asked for (max_tokens=1), and is echoed behind the prompt.
        return {
            "text": "",
            "logprobs": {"token_logprobs": [*own, 0.0], "top_logprobs": [*top, {"t": 0.0}]},
        }


@contextmanager
def serving(model: Any, tokenizer: Any) -> Iterator[tuple[str, Serving]]:
    """The address up to /v1, and the server's record."""
    state = Serving(model, tokenizer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.asked.append(body)
                state.headers.append(self.headers.get("Authorization"))
                status = 503 if state.fails else 200
                data = json.dumps({} if state.fails else state.reply(self.path, body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
