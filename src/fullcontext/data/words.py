"""The words of a text, alone or as 64-bit hashes at many megabytes a second.

A word is a run of letters and digits of any script, in lower case. So neither punctuation nor case,
line breaks, soft hyphens nor the way in which accents are written make two wordings differ.
"""

import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

BLOCK = 1 << 17
"""Characters hashed at once: what fits into a processor's cache."""

_WORD = re.compile(r"[^\W_]+")
_BASE, _SEED = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03


def split(text: str) -> list[str]:
    """`split("Don't PANIC-\\nnow")` is `["don", "t", "panic", "now"]`."""
    return _WORD.findall(normalised(text))


def normalised(text: str) -> str:
    """Lower case and one spelling of every character; format characters and loose marks go."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).casefold()
    codes = _codes(text)
    dropped = _tables()[1][codes]
    if dropped.any():
        return codes[~dropped].tobytes().decode("utf-32-le", "surrogatepass")
    return text


@dataclass(frozen=True, slots=True, eq=False)
class Hashed:
    """The words of a text by hash and place."""

    text: str
    """Normalised."""
    hashes: Hashes
    """Shape (words,)."""
    starts: Places
    """Shape (words,): where in `text` each begins."""
    stops: Places

    def phrase(self, first: int, count: int) -> str:
        """So many words from a place on, joined by spaces."""
        places = zip(self.starts[first : first + count], self.stops[first:], strict=False)
        return " ".join(self.text[start:stop] for start, stop in places)


def hashed(text: str) -> Hashed:
    """The hash of every word.

    A word's hash is the sum of its characters' values times powers of an odd number, mixed, all
    modulo 2^64. Equal words have equal hashes on every machine; that two of a million different
    words share one has a chance of about 3e-8.
    """
    text = normalised(text)
    blocks, at = [], 0
    while at < len(text):
        block = _block(text, at)
        blocks.append((block[0], block[1] + at, block[2] + at))
        at += block[3]
    if not blocks:
        nothing = np.zeros(0, np.int64)
        return Hashed(text, np.zeros(0, np.uint64), nothing, nothing)
    hashes, starts, stops = (np.concatenate([b[i] for b in blocks]) for i in range(3))
    return Hashed(text, hashes, starts, stops)


def grams(hashes: Hashes, n: int) -> Hashes:
    """Hashes of all n words in a row, shape (words - n + 1,), or (0,) of fewer than n."""
    count = len(hashes) - n + 1
    total = np.zeros(max(0, count), np.uint64)
    for i, power in enumerate(_powers(n) if count > 0 else ()):
        total += hashes[i : i + count] * power
    return mixed(total)


def mixed(values: Hashes) -> Hashes:
    """SplitMix64's finaliser: every bit of a value comes to depend on every other."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _block(text: str, at: int) -> tuple[Hashes, Places, Places, int]:
    """Hashes, starts and stops of the words from `at` on, and the characters that hold them."""
    size = BLOCK
    while True:
        values = _tables()[0][_codes(text[at : at + size])]
        if at + size >= len(text):
            break
        gaps = np.flatnonzero(values == 0)
        if len(gaps):  # ends at the last one, so that no word is cut
            values = values[: gaps[-1] + 1]
            break
        size *= 2
    inside = np.concatenate([[False], values != 0, [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return np.zeros(0, np.uint64), starts, stops, len(values)
    sums = np.add.reduceat(values * _powers(len(values)), starts)
    return mixed(sums * _inverses(len(values))[starts]), starts, stops, len(values)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


@cache
def _tables() -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """For every character: its value, 0 if it is in no word; and whether it is left out."""
    count = sys.maxunicode + 1
    in_word = np.fromiter((chr(code).isalnum() for code in range(count)), bool, count)
    kinds = (unicodedata.category(chr(code)) for code in range(count))
    dropped = np.fromiter((kind in ("Mn", "Mc", "Me", "Cf") for kind in kinds), bool, count)
    values = mixed((np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(_SEED))
    return np.where(in_word, values | np.uint64(1), np.uint64(0)), dropped


@cache
def _odd_powers(base: int, count: int) -> Hashes:
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _powers(count: int) -> Hashes:
    return _odd_powers(_BASE, _rounded(count))[:count]


def _inverses(count: int) -> Hashes:
    return _odd_powers(pow(_BASE, -1, 1 << 64), _rounded(count))[:count]


def _rounded(count: int) -> int:
    return max(BLOCK, 1 << (count - 1).bit_length())
