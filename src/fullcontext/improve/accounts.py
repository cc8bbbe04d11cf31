"""What a round's outputs and pairs are worth, held against gold answers that nothing else sees."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fullcontext.config import Match
from fullcontext.improve.pairing import Chosen, Output, Outputs
from fullcontext.improve.squad import right
from fullcontext.randomness import rng

RESAMPLES = 2000


def diagnostics(
    given: Sequence[Outputs], pairs: Mapping[str, Chosen], match: Match, seed: int
) -> dict[str, Any]:
    """Shares of right answers, gaps between them, and lengths.

    `random` is the mean over all outputs of a problem: how often a random choice is right.
    `scores` counts the pairs whose scores do not say that the chosen output is better: a tie, or a
    choice that did not take the highest score (another selector, or that output was cut).
    Gaps are means over the pairs, with a 95 % bootstrap interval over problems.
    """

    def of(output: Output | None, golds: Sequence[str]) -> float:
        return right(output.text, golds, match) if output is not None else float("nan")

    every = [[of(output, each.golds) for output in each.outputs] for each in given]
    paired = [each for each in given if each.id in pairs]
    better = np.array([of(pairs[each.id].better, each.golds) for each in paired])
    worse = np.array([of(pairs[each.id].worse, each.golds) for each in paired])
    drawn = np.array(
        [np.mean(said) for each, said in zip(given, every, strict=True) if each.id in pairs]
    )
    scores = [(each.better_score, each.worse_score) for each in pairs.values()]
    found: dict[str, Any] = {
        "scores": {
            "equal": sum(better == worse for better, worse in scores),
            "rejected_higher": sum(b is not None and b < worse for b, worse in scores),
        },
        "right": {
            "random": _mean([float(np.mean(said)) for said in every]),
            "greedy": _mean([of(e.greedy, e.golds) for e in given if e.greedy is not None]),
            "best": _mean([max(said) for said in every]),
            "chosen": _mean(better),
            "rejected": _mean(worse),
            "random_of_pairs": _mean(drawn),
        },
        "gaps": {
            "chosen_minus_random": _interval(better - drawn, seed),
            "chosen_minus_rejected": _interval(better - worse, seed),
        },
        "tokens": {
            "outputs": _mean([o.tokens for each in given for o in each.outputs]),
            "greedy": _mean([e.greedy.tokens for e in given if e.greedy is not None]),
            "chosen": _mean([pairs[each.id].better.tokens for each in paired]),
            "rejected": _mean([pairs[each.id].worse.tokens for each in paired]),
        },
        "cut": sum(not o.is_whole for each in given for o in each.outputs),
    }
    return found


def scalars(content: Mapping[str, Any]) -> dict[str, float]:
    """What a tracker gets of a round: the manifest of its pairs, flat.

    `length/chosen` is how much longer chosen outputs are than all are, as a share: training on
    them moves the model's own length that way.
    """
    found: dict[str, float] = {"pairs": float(content["pairs"])}
    found["dropped"] = float(sum(content["dropped"].values()))
    found["cut"] = float(content["cut"])
    for group in ("right", "tokens"):
        found |= {f"{group}/{k}": v for k, v in content[group].items() if v is not None}
    for name, gap in content["gaps"].items():
        if gap is not None:
            ends = zip(("", "/low", "/high"), gap, strict=True)
            found |= {f"gap/{name}{end}": value for end, value in ends}
    if found.get("tokens/outputs") and "tokens/chosen" in found:
        found["length/chosen"] = found["tokens/chosen"] / found["tokens/outputs"] - 1
    return found


def _mean(values: Any) -> float | None:
    return round(float(np.mean(values)), 6) if len(values) else None


def _interval(differences: Any, seed: int) -> list[float] | None:
    """Mean, and the ends of its interval."""
    if not len(differences):
        return None
    draw = rng(seed, "gaps of pairs")
    places = draw.integers(len(differences), size=(RESAMPLES, len(differences)))
    low, high = np.percentile(differences[places].mean(axis=1), [2.5, 97.5])
    return [round(float(v), 6) for v in (differences.mean(), low, high)]
