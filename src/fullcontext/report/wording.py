"""Numbers and names as text, the same on the page and in every table beside it."""

import math
from typing import Protocol

LABEL_LENGTH = 36
CELL_LENGTH = 40
NOTHING = "–"


class Interval(Protocol):
    """A value and its 95 % interval, whatever else comes with it."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def shorten(text: str, length: int) -> str:
    """At most `length` characters in one line, cut in the middle: both ends of a name tell."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    head = (length - 1) // 2
    return f"{line[:head]}…{line[len(line) - (length - 1 - head) :]}"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, thousands separated; NOTHING for None and nan."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0 or abs(value) >= 10**digits or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) < 1e-3 else f"{float(f'{value:.{digits}g}'):g}"


def points(value: float) -> str:
    """A score of 0-1 in points of 100, the unit of published tables."""
    if not math.isfinite(value):
        return NOTHING
    return f"{round(100 * value, 1) + 0.0:.1f}"  # + 0.0 turns -0.0 into 0.0


def interval(given: Interval) -> str:
    """The 95 % interval in points, or nothing where there is none."""
    if not (math.isfinite(given.low) and math.isfinite(given.high)):
        return "no interval"
    return f"[{points(given.low)}, {points(given.high)}]"


def listed(words: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def few(names: list[str], most: int = 3) -> str:
    """The first names and how many more there are."""
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return listed([*names[:most], *more])


def signed(given: Interval) -> str:
    """A difference in points, with its sign."""
    text = points(given.value)
    return f"+{text}" if given.value > 0 and text not in ("0.0", NOTHING) else text


def p_value(p: float) -> str:
    """A p-value with two digits, never rounded to zero."""
    if not math.isfinite(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def tokens(amount: float) -> str:
    """A length in tokens, in units of 1,024 where it is a whole number of them."""
    if amount >= 1024 and amount % 1024 == 0:
        return f"{amount / 1024:.0f}K"
    return f"{amount:,.0f}"


def plus_minus(value: float, digits: int = 0) -> str:
    """± a spread over seeds in points, or nothing where there is one seed."""
    text = number(value, digits) if digits else points(value)
    return "" if text == NOTHING else f" ± {text}"
