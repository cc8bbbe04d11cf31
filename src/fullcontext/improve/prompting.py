"""The five ways to ask for an answer (SEALONG, section 2.1); the words are ours but the last's."""

from fullcontext.config import Prompting

WORDS = {
    Prompting.default: "",
    Prompting.direct_answer: "Give the answer alone, without any explanation.",
    Prompting.step_by_step: "Let's think step by step.",
    Prompting.fact_and_reflection: (
        "First state the facts of the text that bear on the question. Then reflect on them, and"
        " derive the answer from them."
    ),
    Prompting.plan_and_solve: (
        "Let's first understand the problem and devise a plan to solve it. Then, let's carry out"
        " the plan and solve the problem step-by-step."
    ),
}


def asked(question: str, prompting: Prompting) -> str:
    """The question with what is added to it."""
    words = WORDS[prompting]
    return f"{question}\n{words}" if words else question
