"""Language models that write, judge and sample: one protocol, behind it an endpoint or weights."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fullcontext.compose import ConfigError
from fullcontext.config import EndpointConfig, LocalConfig, Sampling

if TYPE_CHECKING:
    from fullcontext.llm.meter import Meter


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked; equal requests are asked once (llm/cache.py)."""

    messages: tuple[Message, ...]
    sampling: Sampling
    """A writer's or judge's config will do: temperature, top_p and max_new_tokens count."""
    seed: int
    schema: dict[str, Any] | None = None
    """JSON schema of the wanted reply; a wish, since not every model can be held to it."""

    def key(self, model_name: str) -> str:
        """Hash (32 hexadecimal digits) of everything that the reply depends on."""
        sampling = self.sampling
        asked = [
            model_name,
            [[message.role, message.content] for message in self.messages],
            [float(sampling.temperature), float(sampling.top_p), sampling.max_new_tokens],
            self.seed,
            self.schema,
        ]
        text = json.dumps(asked, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply."""

    text: str
    tokens_in: int
    tokens_out: int
    finish: str
    """`stop`; `length` where it was cut at max_new_tokens; or what else the server says."""


class Refused(Exception):
    """A request that can never succeed; its text is the reason, one of a few, fit for counting."""

    def __init__(
        self, reason: str, tokens_in: int = 0, tokens_out: int = 0, detail: str = ""
    ) -> None:
        super().__init__(reason)
        self.detail = detail
        """What the server says of this very request."""
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out
        """What it has cost all the same."""
        self.is_final = True
        """False while the endpoint has never replied: the settings may be at fault, not the
        request, so the refusal is not remembered."""


class Unanswered(Exception):
    """A request without a reply after all tries; another time it may have one."""


class Model(Protocol):
    """Completes conversations."""

    name: str
    """With the request, everything that replies depend on."""

    async def complete(self, request: Request) -> Completion:
        """The reply. Raises Refused, Unanswered, and ConfigError where going on is pointless."""

    async def close(self) -> None:
        """Lets go of connections, threads and files."""


class Scorer(Protocol):
    """Says how likely an answer is; only weights in this process can."""

    async def answer_nll(self, messages: tuple[Message, ...], answer: str) -> float:
        """Mean negative log-likelihood of an answer as the reply to messages, nats a token."""


def load(config: EndpointConfig | LocalConfig, group: str, meter: "Meter") -> Model:
    """The model of a writer or judge; `group` is the name of its settings in messages.

    Raises ConfigError if a key, a package or the weights are missing.
    """
    match config:
        case EndpointConfig():
            try:
                from fullcontext.llm.endpoint import Endpoint
            except ModuleNotFoundError as error:
                raise ConfigError(
                    f"{group}={config.model} needs the package {error.name};"
                    " pip install 'fullcontext[writers]'"
                ) from error
            return Endpoint(config, group, meter)
        case LocalConfig():
            from fullcontext.llm.local import Local

            return Local(config, group, meter)
