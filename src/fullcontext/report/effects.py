"""Every group against the baseline, on every task and length, with p-values after Holm."""

import zlib
from dataclasses import dataclass

import numpy as np

from fullcontext.report import comparison
from fullcontext.report.curves import Outcome, Subject, compare
from fullcontext.report.groups import Group

COMPARED = ("avg", "litm")
"""The contrasts that a page compares, and the family of Holm's correction with it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A group minus the baseline on one task and length, both at their last probed step."""

    group: Group
    subject: Subject
    found: comparison.Comparison | None
    """None where the two answered no question of the same wording."""
    adjusted: dict[str, float]
    """Contrast -> p after Holm over all effects of the page."""


def measure(
    outcomes: list[Outcome], baseline: Group, bins: int, permutations: int, seed: int
) -> list[Effect]:
    """One effect for each group that has answers where the baseline has some, too."""
    last = [each for each in outcomes if not each.before]
    base = {each.subject: each for each in last if each.index == baseline.index}
    pairs = [each for each in last if each.index != baseline.index and each.subject in base]
    found = [
        compare(
            base[each.subject].items,
            each.items,
            bins,
            permutations,
            np.random.default_rng([seed, zlib.crc32(each.subject.task.encode())]),
        )
        for each in pairs
    ]
    raw = np.array(
        [one.contrasts[key].p_value if one else np.nan for one in found for key in COMPARED]
    )
    table = comparison.holm(raw).reshape(-1, len(COMPARED)).tolist()
    return [
        Effect(each.group, each.subject, one, dict(zip(COMPARED, values, strict=True)))
        for each, one, values in zip(pairs, found, table, strict=True)
    ]
