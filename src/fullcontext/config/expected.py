"""Published figures that a run is held against."""

from collections.abc import Mapping

from fullcontext.config import check
from fullcontext.config.probing import TASKS

ALL = "val"
"""Stands for the plain mean of VaL's three tasks, as in the paper's tables."""
MODES = ("closed_book", "in_context", "others")
SCORES = (
    "exact", "sub_em", "f1", "bleu_1", "bleu_4", "rouge_1_recall", "rouge_2_recall",
    "rouge_l_recall", "meteor", "bertscore_precision", "bertscore_recall", "judge", "cloze_exact",
    "cloze_partial", "readable", "lsd", "lmd", "sd", "sdd",
)  # fmt: skip
"""What adapt.py says of an answer."""
STATISTICS = ("avg", "gap", "litm", "worst", "strict")


def checked(key: str, expected: Mapping[str, float]) -> None:
    """Refuses names that no report measures, and figures that are not in points of 100.

    `probe/TASK/STATISTIC` is a probe at its only length, `probe/TASK/LENGTH/STATISTIC` the one at
    so many tokens; `eval/TASK/METRIC` is of evaluate.py, by the names of its table, and
    `adapt/MODE/KIND/SCORE` of adapt.py, whose kinds are those of the documents, and not checked.
    """
    for name, value in expected.items():
        check.within(f"{key}.{name}", value, -100, 100)
        match name.split("/"):
            case ["probe", task, *length, statistic] if len(length) < 2:
                check.one_of(f"{key}.{name}", task, (*TASKS, ALL))
                check.one_of(f"{key}.{name}", statistic, STATISTICS)
                if length and not length[0].isdigit():
                    raise ValueError(f"{key}.{name}: {length[0]!r} is no number of tokens")
            case ["adapt", mode, _, score]:
                check.one_of(f"{key}.{name}", mode, MODES)
                check.one_of(f"{key}.{name}", score, SCORES)
            case ["eval", _, _]:
                pass
            case _:
                raise ValueError(
                    f"{key}.{name} is no metric; write probe/TASK/STATISTIC,"
                    " probe/TASK/LENGTH/STATISTIC, eval/TASK/METRIC or adapt/MODE/KIND/SCORE"
                )
