"""What an OpenAI-compatible endpoint understands, found out from what it refuses.

Servers differ in whether they take a JSON schema, a seed, and in what they call the longest reply.
The fullest form is tried first. When a server refuses a request as malformed, the feature it names
is left out, or, where it names none, those features that have never worked yet, one after another;
what then works is remembered for the whole endpoint.
"""

from dataclasses import dataclass, replace
from typing import Any

from fullcontext.config import Structured
from fullcontext.llm import Request

_LEVELS = (Structured.none, Structured.json_object, Structured.json_schema)
_NAMED_BY = {
    "response_format": ("response_format", "schema", "json_object", "guided", "grammar"),
    "seed": ("seed",),
    "max_completion_tokens": ("max_completion_tokens",),
}
"""Feature -> words by which a complaint names it, in the order in which they are suspected."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The features in which requests are put."""

    structured: Structured
    """Never `auto`."""
    is_negotiable: bool
    """Whether `structured` may sink; the settings may insist on one."""
    has_seed: bool = True
    has_completion_limit: bool = True
    """Whether the longest reply is called max_completion_tokens; otherwise max_tokens."""

    @classmethod
    def fullest(cls, structured: Structured) -> "Dialect":
        """Where talking to an endpoint begins."""
        if structured is Structured.auto:
            return cls(Structured.json_schema, is_negotiable=True)
        return cls(structured, is_negotiable=False)

    def body(self, model: str, request: Request) -> dict[str, Any]:
        """The JSON of a request."""
        sampling = request.sampling
        limit = "max_completion_tokens" if self.has_completion_limit else "max_tokens"
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": one.role, "content": one.content} for one in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_new_tokens,
        }
        if self.has_seed:
            body["seed"] = request.seed % 2**31
        if request.schema is not None and self.structured is not Structured.none:
            body["response_format"] = {"type": self.structured.value}
            if self.structured is Structured.json_schema:
                wanted = {"name": "reply", "strict": True, "schema": request.schema}
                body["response_format"]["json_schema"] = wanted
        return body

    def features(self, request: Request) -> list[str]:
        """What of a request could be left out, most suspect first."""
        used = []
        if request.schema is not None and self.structured is not Structured.none:
            used += [f"response_format {self.structured}"] * self.is_negotiable
        return (
            used
            + ["seed"] * self.has_seed
            + ["max_completion_tokens"] * (self.has_completion_limit)
        )

    def suspect(self, complaint: str, request: Request, proven: set[str]) -> str | None:
        """The feature to leave out after a refusal; None if the request itself is at fault."""
        used = self.features(request)
        said = complaint.lower()
        named = [
            feature
            for feature in used
            if any(word in said for word in _NAMED_BY[feature.split()[0]])
        ]
        suspects = named or [feature for feature in used if feature not in proven]
        return suspects[0] if suspects else None

    def without(self, feature: str) -> "Dialect":
        """The same with a feature left out, or one level lower."""
        match feature.split()[0]:
            case "seed":
                return replace(self, has_seed=False)
            case "max_completion_tokens":
                return replace(self, has_completion_limit=False)
            case _:
                lower = _LEVELS[_LEVELS.index(self.structured) - 1]
                return replace(self, structured=lower)

    def common(self, other: "Dialect") -> "Dialect":
        """What both have: requests in flight at once may have found out different things."""
        return Dialect(
            min(self.structured, other.structured, key=_LEVELS.index),
            self.is_negotiable,
            self.has_seed and other.has_seed,
            self.has_completion_limit and other.has_completion_limit,
        )
