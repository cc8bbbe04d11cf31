"""A model of symbols that adapts in a second."""

from collections.abc import Iterable

SYMBOLS = [
    "model=symbols", "data=key_value_symbols", "documents=key_value", "documents.tokens=60",
    "adapter=full", "tracking=none", "contextualise.use=false", "segments.tokens=30",
    "segments.stride=12", "contextualise.instruction=''", "answering.limit=200",
    "answering.max_new_tokens=4", "auxiliary.number=0", "precision=fp32", "threads=1",
]  # fmt: skip


def chosen(words: Iterable[str]) -> list[str]:
    """SYMBOLS, without the settings of dictionaries where other documents are read."""
    given = "documents=given" in words
    return [word for word in SYMBOLS if not (given and word.startswith("documents"))]


def dictionary(items: int) -> str:
    """So many lines of three tokens: key, value, newline."""
    return "\n".join(f"k{i % 32} v{i % 16}" for i in range(items))
