"""What a whole synthesis takes, from its first texts, before the first request."""

import time
from collections import Counter
from dataclasses import dataclass, field

from fullcontext.config import (
    ChatInstructions,
    EndpointConfig,
    LocalConfig,
    Sampling,
    SinglePiece,
    SynthesizeConfig,
)
from fullcontext.data import questions, segments
from fullcontext.data.shards import Contaminated, batches
from fullcontext.data.tokens import Encoder
from fullcontext.data.writers import Asking, prompts

SAMPLE_TEXTS = 400
_PROMPTS = 40
"""Prompts of each kind that are counted in tokens."""
_LATENCIES = (1.0, 5.0)
"""Seconds a reply may take; nobody knows before the first."""


@dataclass
class _Sample:
    texts: int = 0
    documents: int = 0
    segments: int = 0
    store_bytes: int = 0
    askings: Counter[str] = field(default_factory=Counter)
    prompt_tokens: dict[str, list[int]] = field(default_factory=dict)
    is_whole: bool = False
    """Whether it is the whole corpus."""
    seconds: float = 0.0


def table(config: SynthesizeConfig, encoder: Encoder, index: Contaminated | None) -> str:
    """Requests, tokens, money, time and bytes of the whole job, as text."""
    external = isinstance(config.instructions, ChatInstructions)
    wanted = {
        kind: number
        for kind, number in config.data.examples.items()
        if number and kind != "key_value" and not (external and kind == "instruction")
    }
    sample = _sample(config, encoder, index, list(wanted))
    if not sample.texts:
        return "estimate: the first documents give no segment; lower data.segment_size"
    return "\n".join([*_texts(config, sample, wanted), *_requests(config, encoder, sample, wanted)])


def _sample(
    config: SynthesizeConfig, encoder: Encoder, index: Contaminated | None, kinds: list[str]
) -> _Sample:
    sample, start = _Sample(), time.monotonic()
    for batch in batches(config, index):
        for document in batch.documents:
            sample.documents += 1
            for text, pieces in segments.texts(
                document,
                encoder,
                segment_size=config.data.segment_size,
                text_tokens=config.corpus.text_tokens,
                separator=config.data.separator,
                dropped=Counter(),
            ):
                sample.texts += 1
                sample.segments += len(pieces)
                sample.store_bytes += sum(
                    piece.tokens.nbytes + len(piece.text.encode()) + 64 for piece in pieces
                )
                for asking in questions.askings(text, pieces, kinds):
                    sample.askings[asking.kind] += 1
                    _count_prompt(config, encoder, sample, asking)
            if sample.texts >= SAMPLE_TEXTS:
                sample.seconds = time.monotonic() - start
                return sample
    sample.is_whole, sample.seconds = True, time.monotonic() - start
    return sample


def _count_prompt(
    config: SynthesizeConfig, encoder: Encoder, sample: _Sample, asking: Asking
) -> None:
    counted = sample.prompt_tokens.setdefault(asking.kind, [])
    if isinstance(config.writer, Sampling) and len(counted) < _PROMPTS:
        said = "\n".join(message.content for message in prompts.messages(asking))
        ids = encoder.tokenizer(said, add_special_tokens=False)["input_ids"]
        counted.append(len(ids))


def _texts(config: SynthesizeConfig, sample: _Sample, wanted: dict[str, int]) -> list[str]:
    lines = [
        f"estimate, from {sample.texts:,} texts of {sample.documents:,} documents"
        f"{' (the whole corpus)' if sample.is_whole else ''}, with every question passing:"
    ]
    most = 0.0
    for kind, number in wanted.items():
        rate = sample.askings[kind] / sample.texts
        if not rate:
            lines.append(f"  {kind}: none of these texts can be asked; {number:,} are wanted")
            continue
        most = max(most, number / rate)
        lines.append(f"  {kind}: {number:,} wanted, {rate:.2f} askings a text")
        if sample.is_whole and sample.askings[kind] < number:
            lines[-1] += f": the corpus gives {sample.askings[kind]:,} at most"
    if sample.is_whole:
        most = min(most, sample.texts)
    documents = most * sample.documents / sample.texts
    size = most * sample.store_bytes / sample.texts
    minutes = most * sample.seconds / sample.texts / 60
    lines.append(
        f"  {most:,.0f} texts of {documents:,.0f} documents; about {size / 1e6:,.0f} MB of"
        f" segments, {minutes:,.1f} min of one core to cut them"
    )
    return lines


def _requests(
    config: SynthesizeConfig, encoder: Encoder, sample: _Sample, wanted: dict[str, int]
) -> list[str]:
    writer = config.writer
    if not isinstance(writer, EndpointConfig | LocalConfig):
        return ["  the template writer sends no request"]
    reply = len(encoder.tokenizer(prompts.example_reply(), add_special_tokens=False)["input_ids"])
    requests, tokens_in = 0, 0.0
    for kind, number in wanted.items():
        counted = sample.prompt_tokens.get(kind) or [0]
        asked = min(number, sample.askings[kind]) if sample.is_whole else number
        requests += asked
        tokens_in += asked * sum(counted) / len(counted)
    lines = _cost("writer", writer, requests, tokens_in, requests * reply)
    if config.filters.needs_judge and isinstance(config.judge, EndpointConfig | LocalConfig):
        judged = requests - wanted.get("instruction", 0) if config.filters.closed_book else 0
        pieces = 2 * wanted.get("integration", 0)
        judged += pieces if config.filters.single_piece is not SinglePiece.off else 0
        lines += _cost("judge", config.judge, judged, judged * 120.0, judged * 40)
    return lines


def _cost(
    group: str, model: EndpointConfig | LocalConfig, requests: int, tokens_in: float, out: float
) -> list[str]:
    lines = [
        f"  {group}: {requests:,} requests, {tokens_in / 1e6:,.2f} M tokens of prompts,"
        f" {out / 1e6:,.2f} M of replies (as long as an example)"
    ]
    several = model.concurrency if isinstance(model, EndpointConfig) else model.batch_size
    times = ", ".join(
        f"{requests * latency / several / 3600:,.2f} h at {latency:g} s a reply"
        for latency in _LATENCIES
    )
    lines.append(f"  {group}: {several} at once: {times}")
    if isinstance(model, EndpointConfig):
        if model.price_in is not None and model.price_out is not None:
            money = (tokens_in * model.price_in + out * model.price_out) / 1e6
            lines.append(f"  {group}: {money:,.2f} in money")
            if model.budget_money is not None and money > model.budget_money:
                lines[-1] += f", more than {group}.budget_money={model.budget_money:g}"
        else:
            lines.append(f"  {group}: set price_in and price_out to see the money")
        if model.budget_tokens is not None and tokens_in + out > model.budget_tokens:
            lines.append(f"  {group}: more than {group}.budget_tokens={model.budget_tokens:,}")
    return lines
