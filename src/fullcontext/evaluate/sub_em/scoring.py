"""Five sets of questions over long texts, scored as SEALONG does (arXiv 2411.08147, section 3).

lm-evaluation-harness reads the YAML files of this folder and calls these functions. Prompts have
the wording of improve.py; an answer is right if a gold answer stands in it after SQuAD's
normalisation.
"""

from typing import Any

from fullcontext.config import Prompting
from fullcontext.improve import prompting
from fullcontext.improve.squad import right, usable

HEAD = "Answer the question from the passages below.\n\n"
"""What stands before the passages, here and in the prompts that are sampled from."""


def check(documents: Any) -> Any:
    """The documents as they are.

    Raises ValueError if the gold answers of one are all empty once articles and signs go: they
    stand in every output.
    """
    for place, document in enumerate(documents):
        if not usable(document["answers"]):
            raise ValueError(
                f"document {place} has no gold answer that says anything after SQuAD's"
                f" normalisation ({document['answers']}), so that every output would be right;"
                " correct or remove it"
            )
    return documents


def prompt(document: dict[str, Any]) -> str:
    """What the user says: plan-and-solve, with which the paper samples and evaluates."""
    question = prompting.asked(document["input"].strip(), Prompting.plan_and_solve)
    return f"{HEAD}{document['context'].strip()}\n\nQuestion: {question}"


def score(document: dict[str, Any], outputs: list[str]) -> dict[str, float]:
    """Substring exact match, the best over the gold answers, and the words of the output."""
    said = outputs[0]
    return {"sub_em": right(said, document["answers"]), "words": float(len(said.split()))}
