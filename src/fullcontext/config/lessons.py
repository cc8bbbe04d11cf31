"""What adapt.py learns of a document: segments, auxiliary questions, rehearsal; in which order."""

from dataclasses import dataclass
from enum import StrEnum

from fullcontext.config import check


class About(StrEnum):
    """What an auxiliary question is written about."""

    passages = "passages"
    """Random runs of `passage_sentences` sentences: `number` questions a document (LIFT, v3)."""
    sentences = "sentences"
    """The last part of a window that ends at each sentence: `number` questions a sentence (v5)."""


@dataclass(kw_only=True)
class SegmentsConfig:
    """Overlapping pieces of the document as texts to be learnt (LIFT, section 3.1)."""

    use: bool = True
    tokens: int = 2048
    stride: int = 768
    """From the start of one to that of the next: 3/8 of their length in the paper. Those at the end
    are shorter, and kept."""

    def __post_init__(self) -> None:
        check.within("segments.tokens", self.tokens, 2)
        check.within("segments.stride", self.stride, 1, self.tokens)


@dataclass(kw_only=True)
class ContextualiseConfig:
    """A segment is learnt after a sample of the document's head and tail, not by itself."""

    use: bool = True
    tokens: int = 4096
    """Of the sample, drawn anew each epoch: a piece of the first so many tokens of the document and
    one of the last so many, together as long."""
    instruction: str = "Given above context, please recite following segment of the context:"
    """What stands between the sample and the segment, in the paper's words."""

    def __post_init__(self) -> None:
        check.within("contextualise.tokens", self.tokens, 2)


@dataclass(kw_only=True)
class AuxiliaryConfig:
    """Questions about the document that are trained on, after it as in `in_context`."""

    number: int = 10
    """A document, or a sentence, by `about`; 0 writes none. Those that a document brings
    (documents.told) are learnt in any case."""
    about: About = About.passages
    passage_sentences: int = 16
    """Consecutive sentences that a writer sees; a shorter document is seen whole."""
    window_characters: int = 2048
    """Most of a window that ends at a sentence."""
    tries: int = 5
    """Askings for a question before it is given up, each counted."""
    with_context: bool = True
    """Whether the document stands before the question (v3), or not (v5)."""

    def __post_init__(self) -> None:
        check.within("auxiliary.number", self.number, 0)
        check.within("auxiliary.passage_sentences", self.passage_sentences, 1)
        check.within("auxiliary.window_characters", self.window_characters, 64)
        check.within("auxiliary.tries", self.tries, 1)


@dataclass(kw_only=True)
class EpochsConfig:
    """The two stages of training; the state of the optimizer goes on from one to the other."""

    segments: int = 3
    """Epochs over segments alone."""
    both: int = 5
    """Epochs over segments and auxiliary questions, after them."""
    batch_size: int | None = None
    """Examples of an optimizer step; null takes one step an epoch, as the paper does."""

    def __post_init__(self) -> None:
        check.within("epochs.segments", self.segments, 0)
        check.within("epochs.both", self.both, 0)
        check.within("epochs.batch_size", self.batch_size, 1)
        if not self.segments + self.both:
            raise ValueError("epochs.segments and epochs.both are 0: nothing would be learnt")


@dataclass(kw_only=True)
class RehearsalConfig:
    """Other questions in other contexts, so that what the model could is kept; not in the paper."""

    examples: int = 0
    """Drawn from `data`, new ones each epoch, in both stages; 0 leaves them out."""

    def __post_init__(self) -> None:
        check.within("rehearsal.examples", self.examples, 0)
