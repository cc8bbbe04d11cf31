"""Which positions are asked of which tasks, from which text, and who answers."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fullcontext.config import check
from fullcontext.config.writing import EndpointConfig

TASKS = ("document", "code", "database", "spread", "key_value")
"""The probes: VaL's three, the one that needs two items, and the fact-free one."""
VAL = TASKS[:3]


class ProbeSource(StrEnum):
    """Where the items of VaL's tasks come from."""

    local = "local"
    """Text on this machine: presidents' messages, the standard library, countries and languages."""
    pieces = "pieces"
    """The released pieces: `document_sentences`, `code_functions` and `database_entities.jsonl`."""
    released = "released"
    """The released contexts, their order and wording: In2Training/VaLProbing-32K."""


@dataclass(kw_only=True)
class ProbeConfig:
    """Which positions are asked of which tasks, and how often."""

    tasks: list[str]
    source: ProbeSource = ProbeSource.local
    path: str | None = None
    """Folder of the pieces; folder or hub name of the released contexts."""
    context_tokens: Any = 1024
    """Length of a probed context, prompt and longest answer counted in: a number, or a list of
    them. A shorter context holds the first items of the longer one."""
    contexts: int = 4
    """Contexts ("sets" in VaL) of each task and length; the unit of the bootstrap."""
    questions: int | None = None
    """Positions asked in each context, evenly spaced; null asks every item (`spread`: at most 55
    pairs)."""
    bins: int = 10
    """Depth bins of the curve."""
    max_new_tokens: int = 48
    every_steps: int = 0
    """Probes in training every so many steps, the start included; the end is always probed."""
    at_steps: list[int] = field(default_factory=list)
    """Probes in training at these steps, too."""
    budget_tokens: int | None = None
    """Most tokens that a probe before the last step reads: of each task and length the first
    contexts alone are asked, so what is asked is asked at the end, too."""

    def __post_init__(self) -> None:
        for task in self.tasks:
            check.one_of("probe.tasks", task, TASKS)
        self.context_tokens = _lengths(self.context_tokens)
        for tokens in self.lengths:
            check.within("probe.context_tokens", tokens, 32)
        check.within("probe.contexts", self.contexts, 1)
        check.within("probe.questions", self.questions, 2)
        check.within("probe.bins", self.bins, 3)
        check.within("probe.max_new_tokens", self.max_new_tokens, 1)
        check.within("probe.every_steps", self.every_steps, 0)
        check.within("probe.budget_tokens", self.budget_tokens, 1)
        for step in self.at_steps:
            check.within("probe.at_steps", step, 0)
        self._check_source()

    def _check_source(self) -> None:
        if self.source is ProbeSource.local and self.path is not None:
            raise ValueError(
                f"probe.path={self.path!r} is not read with probe.source=local; set"
                " probe.source=pieces or probe.source=released, or remove it"
            )
        if self.source is not ProbeSource.local and self.path is None:
            raise ValueError(
                f"probe.source={self.source.value} needs probe.path: the folder of the files, or"
                " the hub name of the released contexts"
            )
        other = [task for task in self.tasks if task not in VAL]
        if self.source is ProbeSource.released and other:
            raise ValueError(
                f"probe.tasks={other}: the release has {', '.join(VAL)}; probe the others with"
                " probe.source=local"
            )

    @property
    def lengths(self) -> list[int]:
        """The lengths to probe, rising."""
        given = self.context_tokens
        return sorted(set(given if isinstance(given, list) else [given]))

    @property
    def longest(self) -> int:
        """The longest of them."""
        return self.lengths[-1]

    def is_due(self, step: int, last: int) -> bool:
        """Whether training probes after `step` steps of `last`."""
        regular = self.every_steps > 0 and step % self.every_steps == 0
        return bool(self.tasks) and (regular or step in self.at_steps or step == last)


def _lengths(given: Any) -> int | list[int]:
    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    if whole(given):
        return int(given)
    if isinstance(given, list) and given and all(whole(each) for each in given):
        return list(given)
    raise ValueError(
        f"probe.context_tokens={given!r} is neither a number of tokens nor a list of them;"
        " write probe.context_tokens=4096 or probe.context_tokens=[1024,2048,4096]"
    )


@dataclass(kw_only=True)
class ReplayConfig(ProbeConfig):
    """Answers that were given elsewhere, in the formats of the VaL release."""

    tasks: list[str] = field(default_factory=list)
    task: str
    """The task the files are of: document, code or database."""
    items: str
    """JSON lines with completion (database: label and description), position_id and set_id."""
    predictions: str
    """JSON lines with samples (a list) or sample, in the order of the items."""
    skip: str | None = None
    """JSON list of line numbers, from 0, that are not scored."""
    bin_items: int = 50
    """Positions of a bin of the release's figure."""

    def __post_init__(self) -> None:
        ProbeConfig.__post_init__(self)
        check.one_of("probe.task", self.task, VAL)
        check.within("probe.bin_items", self.bin_items, 2)


@dataclass(kw_only=True)
class AnswererConfig:
    """Who answers what probe.py asks. Each kind is an option."""

    name: str


@dataclass(kw_only=True)
class LocalAnswerer(AnswererConfig):
    """The model of `run` or `model`, in this process."""

    name: str = "local"


@dataclass(kw_only=True)
class OpenAIAnswerer(AnswererConfig, EndpointConfig):
    """A model behind an OpenAI-compatible endpoint; `model` gives its tokenizer and positions.

    The requests of a context follow one another, so that a server with prefix caching (vLLM) reads
    it once.
    """

    name: str = "openai"
    temperature: float = 0.0
    cache: str = "outputs/answers"
    """Folder of everything that models replied: what is in it is not asked again."""

    def __post_init__(self) -> None:
        self.check_endpoint("answerer")
