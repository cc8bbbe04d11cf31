"""Documents to texts to segments (IN2, appendix D, algorithm 1), and where the paper is silent."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fullcontext.data import sentences
from fullcontext.data.tokens import Encoder
from fullcontext.records import Document, Ids, Segment

LONGEST = 2
"""A paragraph of more than so many times `segment_size` tokens is split at sentence ends."""


LONGEST_LINE = 100_000
"""Characters beyond which a paragraph is split before it is tokenised."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph and its tokens with the separator that follows it."""

    text: str
    tokens: Ids


def paragraphs(text: str) -> list[str]:
    """The lines of a text that are not blank; an indented line goes on with the one before.

    So every paragraph starts with a character that is not white space, where token arrays may be
    joined, and code keeps its indentation.
    """
    found: list[str] = []
    for line in (line.rstrip() for line in text.splitlines()):
        if not line:
            continue
        if line[0].isspace() and found:
            found[-1] += "\n" + line
        else:
            found.append(line.lstrip())
    return found


def texts(
    document: Document,
    encoder: Encoder,
    *,
    segment_size: int,
    text_tokens: int | None,
    separator: str,
    dropped: Counter[str],
) -> Iterator[tuple[Document, list[Segment]]]:
    """A raw document as one or several texts, each with its segments.

    A document longer than twice `text_tokens` is cut at paragraphs. A text below `segment_size`
    tokens has no segment: it is dropped and counted, where algorithm 1 would fail.
    """
    pieces = _encoded(paragraphs(document.text), encoder, segment_size, separator, dropped)
    for number, part in enumerate(_parts(pieces, text_tokens)):
        groups = accumulate([len(p.tokens) for p in part], segment_size)
        if not groups:
            dropped["text shorter than a segment"] += 1
            continue
        id = f"{document.id}#{number}"
        segments = [
            Segment(
                id=f"{id}/{i}",
                document=id,
                parent=document.parent,
                index=i,
                text=separator.join(p.text for p in part[start:stop]),
                tokens=np.concatenate([p.tokens for p in part[start:stop]]),
                source=document.source,
            )
            for i, (start, stop) in enumerate(groups)
        ]
        yield replace(document, id=id, text=separator.join(p.text for p in part)), segments


def accumulate(lengths: list[int], least: int) -> list[tuple[int, int]]:
    """Algorithm 1 on lengths: groups [start, stop) of at least `least`, the rest joins the last.

    `accumulate([60, 80, 50, 90, 20], 128)` is `[(0, 2), (2, 5)]`; too little in all is `[]`.
    """
    groups: list[tuple[int, int]] = []
    start = total = 0
    for i, length in enumerate(lengths):
        total += length
        if total >= least:
            groups.append((start, i + 1))
            start, total = i + 1, 0
    if groups and start < len(lengths):
        groups[-1] = (groups[-1][0], len(lengths))
    return groups


def _parts(pieces: list[Paragraph], text_tokens: int | None) -> list[list[Paragraph]]:
    total = sum(len(p.tokens) for p in pieces)
    if text_tokens is None or total <= 2 * text_tokens:
        return [pieces] if pieces else []
    return [pieces[a:b] for a, b in accumulate([len(p.tokens) for p in pieces], text_tokens)]


def _short(paragraph: str, dropped: Counter[str]) -> list[str]:
    """A paragraph; an absurdly long one as lines of words, since tokenising it takes minutes."""
    if len(paragraph) <= LONGEST_LINE:
        return [paragraph]
    dropped["line of over 100,000 characters split at words (kept)"] += 1
    return textwrap.wrap(paragraph, LONGEST_LINE // 100, break_on_hyphens=False)


def _encoded(
    found: list[str], encoder: Encoder, segment_size: int, separator: str, dropped: Counter[str]
) -> list[Paragraph]:
    found = [line for paragraph in found for line in _short(paragraph, dropped)]
    safe = [p for p in found if not any(token in p for token in encoder.specials)]
    if len(safe) < len(found):
        dropped["paragraph holds a special token"] += len(found) - len(safe)
    pieces: list[Paragraph] = []
    for text, tokens in zip(safe, encoder.encode_many([p + separator for p in safe]), strict=True):
        if len(tokens) <= LONGEST * segment_size:
            pieces.append(Paragraph(text, tokens))
            continue
        dropped["long paragraph split at sentences (kept)"] += 1
        lines = sentences.split(text)
        encoded = encoder.encode_many([line + separator for line in lines])
        pieces += [Paragraph(line, ids) for line, ids in zip(lines, encoded, strict=True)]
    return pieces
