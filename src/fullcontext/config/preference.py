"""Objectives over pairs of answers."""

from dataclasses import dataclass
from enum import StrEnum

from fullcontext.config import check
from fullcontext.config.training import Normalise, ObjectiveConfig


class NllScope(StrEnum):
    """What of a preferred answer's row its likelihood is of."""

    answer = "answer"
    """The answer, as SEALONG trains."""
    full = "full"
    """The prompt, too, as TRL trains."""


@dataclass(kw_only=True)
class OrpoConfig(ObjectiveConfig):
    """Likelihood of the preferred answer, and its odds against the rejected one."""

    name: str = "orpo"
    lambda_: float = 0.1
    """Weight of the odds (TRL and xtuner call it beta)."""
    nll_scope: NllScope = NllScope.answer
    normalise: Normalise = Normalise.example
    """Of the likelihood. `example`: each pair counts the same, as with one pair a device in
    SEALONG; `token`: every supervised token of the step, as TRL within a device's batch."""

    @property
    def needs_pairs(self) -> bool:
        """Always."""
        return True

    def __post_init__(self) -> None:
        check.within("objective.lambda_", self.lambda_, 0)


@dataclass(kw_only=True)
class DpoConfig(ObjectiveConfig):
    """The preferred answer against the rejected one, each against the model that training starts
    from (objective/dpo.py)."""

    name: str = "dpo"
    beta: float = 0.1
    normalise: Normalise = Normalise.example

    @property
    def needs_pairs(self) -> bool:
        """Always."""
        return True

    def __post_init__(self) -> None:
        check.above("objective.beta", self.beta, 0)
        if self.normalise is not Normalise.example:
            raise ValueError(
                f"objective.normalise={self.normalise.value} has no meaning for dpo, whose unit is"
                " a pair; remove it"
            )
