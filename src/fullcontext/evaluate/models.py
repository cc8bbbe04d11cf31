"""The evaluated model behind lm-evaluation-harness's interface, with a guard on lengths."""

import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

from fullcontext.compose import ConfigError
from fullcontext.config import EvaluateConfig, EvaluatedEndpoint, Precision
from fullcontext.evaluate.room import Encode, Room

_UNLIMITED = 2**31
"""Positions of a served model that does not say how many it has."""


class _Fitting:
    """Cuts generation prompts in the middle where `room` says so; lm-eval would cut the start."""

    room: Room
    encode: Encode
    """Ids as they reach the model, special tokens counted in."""

    def _fit(self, requests: Sequence[Any]) -> list[Any]:
        return [self._fit_one(request) for request in requests]

    def _fit_one(self, request: Any) -> Any:
        prompt, settings = request.args[:2]
        short = self.room.text(prompt, self.room.answer(settings), self.encode, self._decode)
        if short == prompt:
            return request
        self.room.count_cut(request)
        return replace(request, arguments=(short, *request.args[1:]))

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))  # type: ignore[attr-defined] # a mixin

    def _count(self, requests: Sequence[Any]) -> None:
        for request in requests:
            if self.room.size(request, self.encode) > self.room.length:
                self.room.count_cut(request)


class LocalModel(_Fitting, HFLM):
    """A transformers model in this process."""

    def __init__(self, model: Any, tokenizer: Any, room: Room, config: EvaluateConfig) -> None:
        model.set_attn_implementation("sdpa")  # batches are padded, which block tables do not know
        model.config.use_cache = True
        HFLM.__init__(
            self, pretrained=model, tokenizer=tokenizer, max_length=room.length,
            batch_size=config.batch_size,
            mixed_precision_dtype="bfloat16" if config.precision is Precision.bf16 else None,
        )  # fmt: skip
        self.room, self.encode = room, encoder(tokenizer)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy answers; over-long prompts lose their middle, counted."""
        return list(HFLM.generate_until(self, self._fit(requests), disable_tqdm))

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        """Log-likelihoods of the choices; over-long contexts lose their middle, counted."""
        self._count(requests)
        return HFLM.loglikelihood(self, requests, disable_tqdm)

    def _loglikelihood_tokens(self, requests: Any, *args: Any, **kwargs: Any) -> Any:
        fitting = [(key, self.room.ids(before, after), after) for key, before, after in requests]
        return HFLM._loglikelihood_tokens(self, fitting, *args, **kwargs)


class ServedModel(_Fitting, LocalCompletionsAPI):
    """A model behind /v1/completions."""

    def __init__(self, endpoint: EvaluatedEndpoint, tokenizer: Any, room: Room) -> None:
        LocalCompletionsAPI.__init__(self, **_settings(endpoint, room, "completions"))
        self.room = room
        self.encode = encoder(tokenizer) if tokenizer is not None else _uncounted
        # lm-eval leaves the start token to the server, which does not add it to ids.
        self.add_bos_token = tokenizer is not None and _adds_start(tokenizer)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy answers; over-long prompts lose their middle, counted."""
        return list(LocalCompletionsAPI.generate_until(self, self._fit(requests), disable_tqdm))

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        """Log-likelihoods of the choices; over-long contexts lose their middle, counted."""
        self._count(requests)
        return LocalCompletionsAPI.loglikelihood(self, requests, disable_tqdm)

    def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> Any:
        fitting = [(key, self.room.ids(before, after), after) for key, before, after in requests]
        return LocalCompletionsAPI._loglikelihood_tokens(self, fitting, **kwargs)


class ServedChat(LocalChatCompletion):
    """A model behind /v1/chat/completions, which applies its own template and refuses itself."""

    def __init__(self, endpoint: EvaluatedEndpoint, room: Room) -> None:
        settings = _settings(endpoint, room, "chat/completions")
        LocalChatCompletion.__init__(self, **settings | {"tokenizer": None})
        self.room = room


def _settings(endpoint: EvaluatedEndpoint, room: Room, path: str) -> dict[str, Any]:
    assert endpoint.url is not None
    url = endpoint.url.rstrip("/")
    key = os.environ.get(endpoint.key_variable)
    counts = endpoint.tokenizer is not None and path == "completions"
    return {
        "base_url": url if url.endswith(f"/{path}") else f"{url}/{path}",
        "model": endpoint.model,
        "tokenizer": endpoint.tokenizer,
        "tokenizer_backend": "huggingface" if counts else None,
        "num_concurrent": endpoint.concurrency,
        "max_retries": endpoint.tries,
        "timeout": endpoint.timeout_s,
        "max_length": room.length + 1,  # one is taken off
        "header": {"Authorization": f"Bearer {key}"} if key else {"X-Key": "none"},
    }


def _uncounted(text: str) -> list[int]:
    """Without a tokenizer nothing is known to be over-long; the server says it."""
    del text
    return []


def encoder(tokenizer: Any) -> Encode:
    """Text -> ids as lm-eval makes them: a start token that is written out is not added again."""
    start: str | None = getattr(tokenizer, "bos_token", None)

    def encode(text: str) -> list[int]:
        doubled = start is not None and text.startswith(start)
        ids = tokenizer(text, **({"add_special_tokens": False} if doubled else {}))["input_ids"]
        return list(ids)

    return encode


def _adds_start(tokenizer: Any) -> bool:
    return bool(tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id])


def served(config: EvaluateConfig, tokenizer: Any, room: Room) -> Any:
    """The model of an endpoint. Raises ConfigError if nobody listens there."""
    endpoint = config.endpoint
    assert endpoint.url is not None
    address = urlparse(endpoint.url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), min(10, endpoint.timeout_s)):
            pass
    except OSError as error:
        raise ConfigError(
            f"endpoint.url={endpoint.url!r} does not answer ({error}); start the server or correct"
            " the address"
        ) from error
    if endpoint.chat:
        return ServedChat(endpoint, room)
    return ServedModel(endpoint, tokenizer, room)


def endpoint_tokenizer(endpoint: EvaluatedEndpoint) -> Any:
    """The tokenizer of the served model, None if none is named.

    Raises ConfigError if it cannot be loaded.
    """
    if endpoint.tokenizer is None:
        return None
    from transformers import AutoTokenizer

    from fullcontext.model import hub

    try:
        return AutoTokenizer.from_pretrained(
            endpoint.tokenizer,
            local_files_only=not hub.answers() or Path(endpoint.tokenizer).exists(),
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"endpoint.tokenizer={endpoint.tokenizer!r} cannot be loaded"
            f" ({str(error).splitlines()[0]}); give a local folder"
        ) from error


def length(config: EvaluateConfig, positions: int) -> int:
    """Tokens of a prompt and its answer. Raises ConfigError if max_length is above the model's."""
    if config.endpoint.url is not None:
        limit = config.endpoint.max_length or _UNLIMITED
    else:
        limit = positions
    if config.max_length is not None and config.max_length > limit:
        raise ConfigError(
            f"max_length={config.max_length} exceeds the model's {limit} positions; lower it or"
            " choose a model with more positions"
        )
    return config.max_length or limit
