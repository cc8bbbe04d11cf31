"""VaL's metrics as its release computes them (IN2, section 3): a prediction against the gold."""

from fullcontext.probe import database as entities
from fullcontext.probe.document import words


def score(task: str, gold: str, prediction: str) -> float:
    """The metric of a task, 0-1."""
    match task:
        case "document":
            return document(gold, prediction)
        case "code":
            return code(gold, prediction)
        case "database":
            return database(gold, prediction)
        case "key_value":
            return key_value(gold, prediction)
        case _:
            raise AssertionError(f"no metric for {task}")


def document(gold: str, prediction: str) -> float:
    """Share of the gold sentence's distinct words that the prediction holds, in any order."""
    wanted = words(gold)
    return len(wanted & words(prediction)) / len(wanted) if wanted else 1.0


def code(gold: str, prediction: str) -> float:
    """1 if the function's name stands anywhere in the prediction, in its own case."""
    return float(gold.strip(".") in prediction)


def database(gold: str, prediction: str) -> float:
    """1 if the label or the description stands in the prediction, in any case."""
    said = prediction.lower()
    return float(any(part in said for part in entities.accepted_parts(gold)))


def key_value(gold: str, prediction: str) -> float:
    """1 if the prediction is the value and nothing else."""
    return float(gold.strip() == prediction.strip())
