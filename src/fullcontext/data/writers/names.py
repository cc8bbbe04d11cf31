"""Names in sentences: where they are, and which of them would be guessed."""

import calendar
import re

NAME = re.compile(
    r"[A-Z](?<=[a-z,;] [A-Z])[a-z]{2,}(?: (?:of |and )?[A-Z][a-z]{2,})*(?=[ ,;.])(?!\. [a-z])"
)
"""A name inside a sentence; its first word may be lost (`is_part`)."""
_MONTHS = frozenset(calendar.month_name[1:])
_COMMON = frozenset([
    "Congress", "Government", "Governments", "State", "States", "United", "President",
    "House", "Senate", "Executive", "Union", "Department", "Secretary", "Republic",
    "Nation", "Nations", "Constitution", "Administration", "Treasury", "American",
    "Americans", "America", "Federal", "Act", "General", "Army", "Navy", "God",
    "Government's", "Executive's",
])  # fmt: skip


def is_part(before: str, name: str, after: str) -> bool:
    """Whether a name goes on outside of what was found of it: "No [Child Left Behind Act]"."""
    words = before.split()
    return (
        (len(words) > 1 and words[-1][0].isupper() and words[-1][-1].isalnum())
        or after.lstrip()[:1].isupper()
        or (name.split()[-1] in _MONTHS and after.lstrip()[:1].isdigit())
    )


def is_common(name: str) -> bool:
    """Whether a name could be guessed from the sentence alone."""
    return name in _MONTHS or _COMMON.issuperset(name.split())
