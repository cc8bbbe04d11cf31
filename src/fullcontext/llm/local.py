"""A Hugging Face model in this process: completes in batches, and says how likely an answer is."""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch

from fullcontext.compose import ConfigError
from fullcontext.config import LocalConfig
from fullcontext.llm import Completion, Message, Refused, Request
from fullcontext.llm.generate import Prompt, generate
from fullcontext.llm.meter import Meter
from fullcontext.model import hub

_SHAPES_REPLIES = (".safetensors", ".json", ".jinja", ".model")

GATHER_S = 0.005
"""How long a batch that is not full waits for those who are about to ask."""

T = TypeVar("T")


class Local:
    """Completes with a model's weights; requests that wait together run together.

    A reply is drawn from its own request's seed alone, so it is the same whatever runs beside it,
    to rounding: where two tokens are equally likely to the last bits, padding may tip the balance.
    Raises ConfigError if the weights or the tokenizer are not there.
    """

    def __init__(self, config: LocalConfig, group: str, meter: Meter) -> None:
        self._config = config
        self._group = group
        self._meter = meter
        self._model, self._tokenizer, self.name = _loaded(config, group)
        self._ends = _ends(self._model, self._tokenizer)
        self._positions: int | None = getattr(self._model.config, "max_position_embeddings", None)
        self._waiting: deque[tuple[Request, Prompt, asyncio.Future[Completion]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        # One thread: the model is not made for two, and the event loop stays alive.
        self._thread = ThreadPoolExecutor(1, "local model")

    async def complete(self, request: Request) -> Completion:
        """The reply. Raises Refused where prompt and reply do not fit in the model's positions."""
        ids = self._ids(request.messages)
        if self._positions is not None and len(ids) >= self._positions:
            self._meter.refusals += 1
            raise Refused(
                "prompt too long", detail=f"{len(ids)} tokens, {self._positions} positions"
            )
        sampling = request.sampling
        room = (self._positions or len(ids) + sampling.max_new_tokens) - len(ids)
        prompt = Prompt(
            ids,
            min(room, sampling.max_new_tokens),
            sampling.temperature,
            sampling.top_p,
            request.seed,
        )
        reserved = await self._meter.reserve(request)
        reply: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, prompt, reply))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            completion = await reply
        except BaseException:
            self._meter.settle(reserved, 0, 0)
            raise
        self._meter.settle(reserved, completion.tokens_in, completion.tokens_out)
        self._meter.count(completion)
        return completion

    async def answer_nll(self, messages: tuple[Message, ...], answer: str) -> float:
        """Mean negative log-likelihood of an answer as the reply to messages, nats a token.

        The answer's own tokens alone: not the end of the turn. Raises Refused if the answer is
        empty or does not fit in the model's positions.
        """
        prompt = self._ids(messages)
        said = self._tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not said:
            raise Refused("empty answer")
        if self._positions is not None and len(prompt) + len(said) > self._positions:
            raise Refused("prompt too long", detail=f"{len(prompt) + len(said)} tokens")
        return await self._in_thread(lambda: self._nll(prompt, said))

    async def close(self) -> None:
        """Lets the running batch end, drops what waits, and frees the weights."""
        for _, _, reply in self._waiting:
            reply.cancel()
        self._waiting.clear()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()
        self._model = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _work(self) -> None:
        """Runs batches until nobody waits."""
        while self._waiting:
            if len(self._waiting) < self._config.batch_size:
                await asyncio.sleep(GATHER_S)
            taken = [
                self._waiting.popleft()
                for _ in range(min(self._config.batch_size, len(self._waiting)))
            ]
            batch = [each for each in taken if not each[2].done()]
            if not batch:
                continue
            try:
                prompts = [prompt for _, prompt, _ in batch]
                replies = await self._in_thread(
                    lambda prompts=prompts: generate(self._model, prompts, self._ends)  # type: ignore[misc] # a default binds it
                )
            except Exception as error:
                for _, _, reply in batch:
                    if not reply.done():
                        reply.set_exception(self._explained(error))
                continue
            for (_, prompt, reply), ids in zip(batch, replies, strict=True):
                if not reply.done():
                    reply.set_result(self._completion(prompt, ids))

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, torch.OutOfMemoryError):
            return error
        size = self._config.batch_size
        return ConfigError(
            f"{self._group}.batch_size={size} takes more memory than {self._model.device} has;"
            f" lower it ({self._group}.batch_size={max(1, size // 2)}) and run the same command"
            " again: what was replied is kept"
        )

    def _completion(self, prompt: Prompt, ids: list[int]) -> Completion:
        has_ended = ids[-1] in self._ends
        text = self._tokenizer.decode(ids[:-1] if has_ended else ids, skip_special_tokens=True)
        return Completion(text, len(prompt.ids), len(ids), "stop" if has_ended else "length")

    def _ids(self, messages: tuple[Message, ...]) -> list[int]:
        """A conversation up to where the reply begins."""
        if self._tokenizer.chat_template is None:
            text = "\n\n".join(message.content for message in messages) + "\n"
            ids: list[int] = self._tokenizer(text)["input_ids"]
            return ids
        turns = [{"role": one.role, "content": one.content} for one in messages]
        text = self._tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    @torch.inference_mode()
    def _nll(self, prompt: list[int], said: list[int]) -> float:
        ids = torch.tensor([prompt + said], device=self._model.device)
        # The token before each one predicts it; logits are made for those places alone.
        logits = self._model(input_ids=ids[:, :-1], logits_to_keep=len(said)).logits[0].float()
        nll = torch.nn.functional.cross_entropy(logits, ids[0, -len(said) :])
        return float(nll)


def _loaded(config: LocalConfig, group: str) -> tuple[Any, Any, str]:
    """Model, tokenizer, and a name that changes with the weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {
        "trust_remote_code": config.trust_remote_code,
        "local_files_only": not hub.answers(),
    }
    try:
        model = AutoModelForCausalLM.from_pretrained(
            config.path, dtype="auto", use_safetensors=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(config.path, **options)
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"the model {group}.path={config.path!r} cannot be loaded"
            f" ({str(error).splitlines()[0]}); give a local folder in Hugging Face format with"
            " safetensors and a tokenizer (`make smollm2` makes one), or connect to the hub"
        ) from error
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = model.to(device).eval()
    except RuntimeError as error:
        raise ConfigError(
            f"{group}.device={device} cannot hold {config.path} ({str(error).splitlines()[0]});"
            f" choose another one, e.g. {group}.device=cpu"
        ) from error
    folder = Path(config.path)
    name = folder.resolve().name if folder.is_dir() else config.path
    return model, tokenizer, f"{name}@{weights_id(config.path, model)}"


def weights_id(path: str, model: Any) -> str:
    """Short hash of a model's weights: its commit on the hub, or samples of the folder's files.

    A path alone would give a model that was trained on the replies of the one before.
    """
    folder = Path(path)
    if not folder.is_dir():
        return str(getattr(model.config, "_commit_hash", None) or "unknown")[:12]
    said = hashlib.sha256()
    for file in sorted(each for each in folder.iterdir() if each.suffix in _SHAPES_REPLIES):
        size = file.stat().st_size
        said.update(json.dumps([file.name, size]).encode())
        with file.open("rb") as content:
            for part in range(16):
                content.seek(size * part // 16)
                said.update(content.read(16384))
    return said.hexdigest()[:12]


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a reply, of the model's settings and of the tokenizer."""
    settings = getattr(model, "generation_config", None)
    ends = {tokenizer.eos_token_id}
    for given in (getattr(settings, "eos_token_id", None), model.config.eos_token_id):
        ends |= set(given) if isinstance(given, list | tuple) else {given}
    return frozenset(int(end) for end in ends if end is not None)
