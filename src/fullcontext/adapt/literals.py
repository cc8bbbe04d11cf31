"""Values that others wrote down as text, read without running anything."""

import ast
import json
import warnings
from typing import Any


def literal(text: str) -> Any:
    """A value written as JSON, or as Python writes its strings, numbers, lists and dicts.

    Raises ValueError if it is neither: names and calls are code, and refused.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in what a model wrote
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"neither JSON nor a Python literal: {said}") from error
