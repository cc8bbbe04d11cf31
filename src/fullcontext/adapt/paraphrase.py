"""Scores that grant other words for the same: METEOR and BERTScore, as LooGLE reports them.

Both need more than this package has: METEOR the package nltk and WordNet, BERTScore an encoder.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from fullcontext.adapt.documents import Question
from fullcontext.compose import ConfigError
from fullcontext.config import ParaphraseConfig
from fullcontext.model import hub

NOT_TEXT = ("cloze", "timeline")
"""Kinds whose answers are names or numerals: no other word is as good."""
_BATCH = 32
_NO_LIMIT = 10**9
"""What transformers says of a tokenizer without a longest text is greater than this."""


def scored(
    config: ParaphraseConfig, asked: Sequence[tuple[Question, str]]
) -> tuple[list[dict[str, float]], Counter[str]]:
    """`meteor` and `bertscore_recall` of each reply, as far as they are wanted and there is a gold
    answer, of which the best counts; and how many texts the encoder saw only the beginning of.

    Raises ConfigError if what is needed is missing.
    """
    found: list[dict[str, float]] = [{} for _ in asked]
    counted: Counter[str] = Counter()
    pairs = [
        (at, gold, reply)
        for at, (question, reply) in enumerate(asked)
        if question.kind not in NOT_TEXT
        for gold in question.answers
    ]

    def keep(name: str, values: Sequence[float]) -> None:
        for (at, _, _), value in zip(pairs, values, strict=True):
            found[at][name] = max(value, found[at].get(name, value))

    if config.meteor:
        wordnet = load_wordnet()
        keep("meteor", [meteor(gold, reply, wordnet) for _, gold, reply in pairs])
    if config.bertscore:
        encoder = Encoder(config)
        keep("bertscore_recall", encoder.recall([(gold, reply) for _, gold, reply in pairs]))
        if encoder.cut:
            counted[f"texts of more than {encoder.longest} tokens, cut for BERTScore"] = encoder.cut
    return found, counted


def check(config: ParaphraseConfig) -> None:
    """Raises ConfigError if what is needed is missing, before anything is learnt."""
    if config.meteor:
        load_wordnet()
    if config.bertscore:
        _architecture(config)


def load_wordnet() -> Any:
    """WordNet as nltk reads it. Raises ConfigError if nltk or WordNet is not here."""
    try:
        from nltk.corpus import wordnet
    except ImportError as error:
        raise ConfigError(
            f"paraphrase.meteor needs the package {error.name}; pip install 'fullcontext[loogle]',"
            " or set paraphrase.meteor=false"
        ) from error
    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError) as error:
        what = "damaged" if isinstance(error, OSError) else "not here"
        raise ConfigError(
            f"paraphrase.meteor needs WordNet, which is {what}; python -m nltk.downloader wordnet,"
            " or set paraphrase.meteor=false"
        ) from error
    return wordnet


def meteor(gold: str, reply: str, wordnet: Any) -> float:
    """METEOR of the distinct words of both, in the order in which they first occur.

    LooGLE hands nltk sets, whose order, which METEOR weighs, is another in every process.
    """
    from nltk.translate.meteor_score import meteor_score

    expected, said = (list(dict.fromkeys(text.split())) for text in (gold, reply))
    return float(meteor_score([expected], said, wordnet=wordnet))


class Encoder:
    """An encoder of transformers whose hidden states tell how alike two texts are.

    Raises ConfigError if it cannot be loaded or has fewer layers than `paraphrase.layer`.
    """

    def __init__(self, config: ParaphraseConfig) -> None:
        from transformers import AutoModel, AutoTokenizer

        architecture = _architecture(config)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(config.bertscore, **_where())
            model = AutoModel.from_pretrained(config.bertscore, use_safetensors=True, **_where())
        except (OSError, ValueError) as error:
            raise _unusable(config, error) from error
        self.layer, self.cut = config.layer, 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(self.device)
        most = self.tokenizer.model_max_length
        # RoBERTa's first two positions stand for padding.
        self.longest = int(most if most < _NO_LIMIT else architecture.max_position_embeddings - 2)

    def recall(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """R_BERT of (gold, reply) pairs (Zhang et al., 2020, section 3), without weights or
        rescaling: the mean over the gold answer's tokens of the greatest cosine with a token of
        the reply. 0 if either is empty."""
        texts = sorted({text.strip() for pair in pairs for text in pair if text.strip()}, key=len)
        states: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for start in range(0, len(texts), _BATCH):
            some = texts[start : start + _BATCH]
            states |= zip(some, self._states(some), strict=True)
        return [_recall(states, gold.strip(), reply.strip()) for gold, reply in pairs]

    @torch.no_grad()
    def _states(self, texts: Sequence[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of each text its states, (tokens, width), of length 1, and which tokens are of the text
        itself: those that open and close it can be matched, but need not be."""
        ids = self.tokenizer(list(texts), truncation=False)["input_ids"]
        self.cut += sum(len(each) > self.longest for each in ids)
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.longest,
            return_tensors="pt", return_special_tokens_mask=True,
        )  # fmt: skip
        special = batch.pop("special_tokens_mask").bool()
        hidden = self.model(**batch.to(self.device), output_hidden_states=True).hidden_states
        states = torch.nn.functional.normalize(hidden[self.layer].float(), dim=-1).cpu()
        kept = batch["attention_mask"].bool().cpu()
        return [
            (row[keep], ~opens[keep])
            for row, keep, opens in zip(states, kept, special, strict=True)
        ]


def _architecture(config: ParaphraseConfig) -> Any:
    """The encoder's own config. Raises ConfigError if it is not here, or of too few layers."""
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(config.bertscore, **_where())
    except (OSError, ValueError) as error:
        raise _unusable(config, error) from error
    if config.layer > found.num_hidden_layers:
        raise ConfigError(
            f"paraphrase.layer={config.layer}, but {config.bertscore} has {found.num_hidden_layers}"
            " layers; the authors take 17 of roberta-large, 10 of roberta-base, 9 of"
            " bert-base-uncased"
        )
    return found


def _where() -> dict[str, Any]:
    return {"local_files_only": not hub.answers()}


def _unusable(config: ParaphraseConfig, error: Exception) -> ConfigError:
    return ConfigError(
        f"paraphrase.bertscore={config.bertscore!r} cannot be loaded"
        f" ({str(error).splitlines()[0]}); give a local folder, connect to the hub, or set"
        " paraphrase.bertscore=null"
    )


def _recall(states: dict[str, tuple[torch.Tensor, torch.Tensor]], gold: str, reply: str) -> float:
    if gold not in states or reply not in states:
        return 0.0
    expected, own = states[gold]
    best = (expected[own] @ states[reply][0].T).max(dim=1).values
    return float(best.mean())
