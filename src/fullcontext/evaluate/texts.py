"""Perplexities over the texts of a corpus, as entries beside lm-evaluation-harness's tasks."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import EvaluateConfig, PerplexityConfig, PositionsConfig
from fullcontext.evaluate import longppl
from fullcontext.evaluate.longppl import Evaluator, Perplexity
from fullcontext.evaluate.outcome import Outcome, Score
from fullcontext.records import Document

LONG, SHORT = "longppl", "short_ppl"
"""Names of the two entries."""
Record = dict[str, Any]


def documents(config: EvaluateConfig, tokenizer: Any, tokens: int, least: int) -> list[Document]:
    """The first documents of the corpus with at least `least` tokens, cut after `tokens`.

    Raises ConfigError if there are fewer than asked for.
    """
    from fullcontext.data import corpus

    wanted = config.suite.perplexity.documents
    found: list[Document] = []
    read = sorted(corpus.read(config.corpus, config.seed, Counter()), key=lambda each: each.id)
    for document in read:
        offsets = tokenizer(
            document.text, add_special_tokens=False, return_offsets_mapping=True
        )["offset_mapping"]  # fmt: skip
        if len(offsets) >= least:
            text = document.text[: offsets[min(tokens, len(offsets)) - 1][1]]
            found.append(Document(document.id, text, document.source, "", document.parent))
        if len(found) == wanted:
            return found
    raise ConfigError(
        f"suite.perplexity.documents={wanted}: the corpus {config.corpus.name} has {len(found)}"
        f" documents of {least} tokens; lower it, or choose a corpus of longer texts"
    )


def entries(config: EvaluateConfig, tokenizer: Any) -> dict[str, list[Document]]:
    """Entry -> its texts, read before a model is loaded; empty if nothing is to be measured."""
    asked = config.suite.perplexity
    if not asked.documents:
        return {}
    least = asked.trunc_len + asked.sliding_window + 1
    return {
        LONG: documents(config, tokenizer, asked.tokens, least),
        SHORT: documents(config, tokenizer, asked.short_tokens, asked.short_tokens),
    }


def measure(
    name: str, texts: Sequence[Document], model: Any, tokenizer: Any, config: EvaluateConfig,
    advance: Callable[[], object],
) -> tuple[list[Score], dict[str, list[Record]]]:  # fmt: skip
    """Scores of an entry and one record a text."""
    asked = config.suite.perplexity
    evaluator = _evaluator(asked, model, tokenizer, config) if name == LONG else None
    measured: list[Perplexity] = []
    for document in texts:
        if evaluator is not None:
            measured.append(
                longppl.measure(document.text, model, tokenizer, evaluator, asked, config.precision)
            )
        else:
            ids = tokenizer(document.text, add_special_tokens=False)["input_ids"]
            losses = longppl.nll(model, ids, config.precision)
            measured.append(Perplexity(float(losses.mean()), len(losses), None, 0))
        advance()
    return list(_scores(name, measured)), {name: list(_records(texts, measured))}


def _evaluator(
    asked: PerplexityConfig, model: Any, tokenizer: Any, config: EvaluateConfig
) -> Evaluator:
    if asked.evaluator is None:
        return Evaluator(model, tokenizer)
    from dataclasses import replace

    from fullcontext.model import load
    from fullcontext.model import tokenizer as tokenizers

    named = replace(config.model, path=asked.evaluator, tokenizer=asked.evaluator)
    other = load.load(named, PositionsConfig(), config.seed).to(next(model.parameters()).device)
    return Evaluator(other.eval(), tokenizers.load(named))


def _scores(name: str, measured: Sequence[Perplexity]) -> Iterator[Score]:
    found = longppl.over_texts(measured)
    for metric, value in reversed(found.items()):
        yield Score(name, metric, "none", value, None, len(measured), True, False)
        yield Score(
            name, f"{metric}_nats", "none", _mean_nats(metric, measured), None, len(measured),
            True, False,
        )  # fmt: skip
    if name == LONG:
        keys = sum(each.key_tokens for each in measured)
        share = keys / sum(each.tokens for each in measured)
        yield Score(name, "key_share", "none", share, None, len(measured), True)


def _mean_nats(metric: str, measured: Sequence[Perplexity]) -> float:
    values = [_nats(metric, each) for each in measured]
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def _nats(metric: str, each: Perplexity) -> float | None:
    return each.nll if metric == "ppl" else each.key_nll


def _records(texts: Sequence[Document], measured: Sequence[Perplexity]) -> Iterator[Record]:
    for i, (document, each) in enumerate(zip(texts, measured, strict=True)):
        nats = {"ppl_nats": each.nll, "longppl_nats": each.key_nll}
        yield {
            "doc_id": i,
            "doc_hash": hashlib.sha256(document.text.encode()).hexdigest(),
            "filter": "none",
            "scores": {key: value for key, value in nats.items() if value is not None},
            "tokens": each.tokens,
            "key_tokens": each.key_tokens,
            "document": document.id,
        }


def outcome(name: str, scores: list[Score], seconds: float) -> Outcome:
    """The entry as it is kept."""
    return Outcome(name, scores, [name], {}, {}, seconds)


def evaluator_exists(config: EvaluateConfig) -> None:
    """Raises ConfigError if a named evaluator is neither a folder nor to be had from the hub."""
    from fullcontext.model import hub

    path = config.suite.perplexity.evaluator
    if config.suite.perplexity.documents and path is not None:
        local = Path(path).is_dir() or hub.is_cached(path)
        if not local and not hub.answers():
            raise ConfigError(
                f"suite.perplexity.evaluator={path!r} is not on this machine; name a folder, or"
                " connect to the hub"
            )
