"""What a model says to the questions of one context, which runs through the model once.

The context's keys and values stay in a cache that all questions read. The questions then run
together with their gold answers, each seeing the context and itself: that pass gives the gold
answers' log-probabilities, and it is also the start of greedy decoding. As long as the model's
first choice is the gold token, greedy decoding would have said the same and gone on from there;
so decoding starts at the first difference, and a fully right answer needs no further step.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullcontext.config import Precision
from fullcontext.model.table import BlockTable, Group
from fullcontext.records import Asked, Example, Ids

CHUNK_TOKENS = 2048
"""Question and answer tokens that run at once; bounds the mask (tokens x keys) and the logits."""


class Reply(NamedTuple):
    """The answer to one question."""

    tokens: list[int]
    """Greedy tokens, the end token left out."""
    logp: npt.NDArray[np.float32]
    """Shape (gold tokens,): log-probability of each gold token after the gold ones before it."""


class Cached:
    """A model and the keys and values of what it has read."""

    def __init__(self, model: Any) -> None:
        from transformers import DynamicCache

        self.model = model
        self.device = next(model.parameters()).device
        self.cache = DynamicCache()  # not by the model's config: layers with a window would forget
        self.places: Ids = np.zeros(0, np.int32)
        """Where each cached token stands."""

    def read(self, ids: Ids, positions: Ids, sees: Tensor | None) -> Tensor:
        """Last hidden states, shape (tokens, width).

        `sees`, shape (tokens, all keys), is True where a token sees a key; None is causal.
        """
        inputs = torch.from_numpy(ids).long().to(self.device).unsqueeze(0)
        self.places = np.concatenate([self.places, positions]).astype(np.int32)
        output = self.model.get_decoder()(
            input_ids=inputs,
            position_ids=torch.from_numpy(positions).long().to(self.device).unsqueeze(0),
            past_key_values=self.cache,
            use_cache=True,
            block_table=None if sees is None else _table(sees.to(self.device), self.places),
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Shape (tokens, vocabulary), fp32."""
        logits: Tensor = self.model.get_output_embeddings()(hidden).float()
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def forget(self, length: int) -> None:
        """Keeps the first `length` tokens."""
        self.cache.crop(length - self.cache.get_seq_length())
        self.places = self.places[:length]


def _table(sees: Tensor, places: Ids) -> BlockTable:
    """One group: new tokens as queries, the cache and the new tokens as keys."""
    queries = torch.arange(sees.shape[0], device=sees.device)
    keys = torch.arange(sees.shape[1], device=sees.device)
    at = torch.from_numpy(places).to(sees.device)
    group = Group(1, sees.shape[0], sees.shape[1], sees, at)
    return BlockTable((group,), queries, keys, order=queries, is_whole=True)


@torch.no_grad()
def answer(
    model: Any,
    example: Example,
    end: int,
    max_new_tokens: int,
    precision: Precision = Precision.fp32,
    chunk_tokens: int = CHUNK_TOKENS,
) -> list[Reply]:
    """Greedy replies to the questions of a context, in their order.

    The model must attend through block tables (model/load.py). Every rank of a sharded model has
    to call this with the same example.
    """
    cached = Cached(model)
    length = len(example.context)
    replies: list[Reply] = []
    with torch.autocast(cached.device.type, torch.bfloat16, enabled=precision is Precision.bf16):
        if length:
            cached.read(example.context, np.arange(length), None)
        for asked in _chunks(example.asked, chunk_tokens):
            replies += _replies(cached, length, asked, end, max_new_tokens)
            cached.forget(length)
    return replies


def _chunks(asked: Sequence[Asked], most: int) -> Iterator[list[Asked]]:
    chunk: list[Asked] = []
    tokens = 0
    for one in asked:
        own = len(one.prompt) + len(one.answer)
        if chunk and tokens + own > most:
            yield chunk
            chunk, tokens = [], 0
        chunk.append(one)
        tokens += own
    if chunk:
        yield chunk


def _replies(
    cached: Cached, length: int, asked: Sequence[Asked], end: int, most: int
) -> list[Reply]:
    """Replies of questions that run at once after a cached context of `length` tokens.

    With a context C and questions q, r of two tokens and gold answers of one, the first pass is

        input      q q Q | r r R        sees  C C C + its own, causally
        predicts   . Q $ | . R $
    """
    own = [np.concatenate([one.prompt, one.answer]) for one in asked]
    sees = apart(length, [len(ids) for ids in own])
    positions = np.concatenate([length + np.arange(len(ids)) for ids in own])
    hidden = cached.read(np.concatenate(own), positions, sees)
    # The first answer token is predicted at the last token of the prompt.
    starts = np.cumsum([0, *(len(ids) for ids in own[:-1])])
    first = [int(start) + len(one.prompt) - 1 for start, one in zip(starts, asked, strict=True)]
    best, logp = _against_gold(cached, hidden, first, [one.answer for one in asked])
    said = [begun(one.answer, choice, most) for one, choice in zip(asked, best, strict=True)]
    last = [place + len(tokens) - 1 for place, tokens in zip(first, said, strict=True)]
    _decode(cached, said, [length + len(one.prompt) for one in asked], sees[last], end, most)
    kept = [tokens[:-1] if tokens[-1] == end else tokens for tokens in said]
    return [Reply(tokens, each) for tokens, each in zip(kept, logp, strict=True)]


def _against_gold(
    cached: Cached, hidden: Tensor, first: list[int], gold: list[Ids]
) -> tuple[list[Ids], list[npt.NDArray[np.float32]]]:
    """First choices and log-probabilities of the gold tokens, for each question."""
    at = [np.arange(len(ids)) + place for place, ids in zip(first, gold, strict=True)]
    logits = cached.logits(hidden[torch.from_numpy(np.concatenate(at)).to(cached.device)])
    wanted = torch.from_numpy(np.concatenate(gold)).long().to(cached.device)
    chosen = logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0]
    cuts = np.cumsum([len(ids) for ids in gold])[:-1]
    best = logits.argmax(-1).int().cpu().numpy()
    return np.split(best, cuts), np.split(chosen.cpu().numpy(), cuts)


def apart(length: int, lengths: Sequence[int]) -> Tensor:
    """Shape (tokens, length + tokens): each question sees the context and, causally, itself."""
    question = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    own = (question[:, None] == question[None, :]).tril()
    return torch.cat([torch.ones(len(own), length, dtype=torch.bool), own], 1)


def begun(gold: Ids, best: Ids, most: int) -> list[int]:
    """The greedy tokens that a pass over the gold answer determines, at most `most`.

    `best` holds the first choices after each gold prefix. Up to the first that differs, and with
    it, they are what greedy decoding says: gold a b $ and choices a c d give a c.
    """
    differ = np.flatnonzero(best != gold)
    known = differ[0] + 1 if len(differ) else len(gold)
    return [int(token) for token in best[: min(known, most)]]


def _decode(
    cached: Cached, said: list[list[int]], after: list[int], sees: Tensor, end: int, most: int
) -> None:
    """Continues the replies greedily, one token of each per step, until all have ended.

    `after[i]` is the position of reply i's first token; row i of `sees` says which keys its last
    token saw when it was chosen.
    """
    going = list(range(len(said)))
    while True:
        keep = [k for k, i in enumerate(going) if said[i][-1] != end and len(said[i]) < most]
        if not keep:
            return
        going = [going[k] for k in keep]
        sees = torch.cat([sees[keep], torch.eye(len(going), dtype=torch.bool)], 1)
        hidden = cached.read(
            np.array([said[i][-1] for i in going]),
            np.array([after[i] + len(said[i]) - 1 for i in going]),
            sees,
        )
        for i, token in zip(going, cached.logits(hidden).argmax(-1).tolist(), strict=True):
            said[i].append(token)
