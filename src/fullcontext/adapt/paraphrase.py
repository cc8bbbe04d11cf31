"""Scores that grant other words for the same: METEOR and BERTScore, which LooGLE reports.

Both need more than this package has: METEOR the package nltk and WordNet, BERTScore an encoder.
What was scored once is kept in `paraphrase.json` of the adaptation, and not scored again.
"""

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from fullcontext.adapt.documents import Question
from fullcontext.compose import ConfigError, plain
from fullcontext.config import ParaphraseConfig
from fullcontext.launch import StopFlag
from fullcontext.model import hub
from fullcontext.store import fingerprint, write_aside

NOT_TEXT = ("cloze", "timeline")
"""Kinds whose answers are names or numerals: no other word is as good."""
FILE = "paraphrase.json"
_BATCH = 32
_TOGETHER = 512
"""Answers whose states are held at a time."""
_NO_LIMIT = 10**9
"""What transformers says of a tokenizer without a longest text is greater than this."""
_SPACED = ("roberta", "gpt2")
"""Their tokenizers tell a word at the start of a text from the same word after a space; the
authors' package reads all as after a space."""

Asked = Sequence[tuple[Question, str]]


def check(config: ParaphraseConfig) -> None:
    """Raises ConfigError if what is needed is missing, before anything is learnt."""
    if config.meteor:
        load_wordnet()
    if config.bertscore:
        Encoder(config)


def score(config: ParaphraseConfig, asked: Asked, folder: Path, stop: StopFlag) -> None:
    """Writes `meteor`, `bertscore_precision` and `bertscore_recall` of each reply into the file of
    `folder`, as far as they are wanted, not there, and there is a gold answer.

    Raises ConfigError if what is needed is missing, SystemExit(75) after a signal.
    """
    from rich.progress import track

    pairs = {(gold, reply) for question, reply in asked for gold in _golds(question)}
    known = _read(config, folder)
    left = sorted(pair for pair in pairs if _key(pair) not in known["scores"])
    if not left:
        return
    wordnet = load_wordnet() if config.meteor else None
    encoder = Encoder(config) if config.bertscore else None
    starts = range(0, len(left), _TOGETHER)
    for start in track(starts, "METEOR and BERTScore", transient=True):
        some = left[start : start + _TOGETHER]
        found: list[dict[str, float]] = [{} for _ in some]
        if wordnet is not None:
            found = [{"meteor": meteor(*pair, wordnet)} for pair in some]
        if encoder is not None:
            found = [a | b for a, b in zip(found, encoder.scores(some), strict=True)]
            known["cut"] |= {fingerprint(text): encoder.longest for text in encoder.cut}
        known["scores"] |= {_key(pair): each for pair, each in zip(some, found, strict=True)}
        write_aside(folder / FILE, json.dumps(known))
        stop.heed()


def scored(
    config: ParaphraseConfig, asked: Asked, folder: Path
) -> tuple[list[dict[str, float]], Counter[str]]:
    """What `score` has written of each reply, of several gold answers the best; and how many texts
    the encoder saw only the beginning of."""
    known = _read(config, folder)
    every = [
        [known["scores"][_key((gold, reply))] for gold in _golds(question)]
        for question, reply in asked
    ]
    found = [
        {name: max(each[name] for each in some) for name in some[0]} if some else {}
        for some in every
    ]
    cut = Counter(known["cut"].values())
    reason = "texts of more than {} tokens, cut for BERTScore"
    return found, Counter({reason.format(longest): number for longest, number in cut.items()})


def _golds(question: Question) -> Iterable[str]:
    return () if question.kind in NOT_TEXT else question.answers


def _key(pair: tuple[str, str]) -> str:
    return fingerprint(list(pair))


def _read(config: ParaphraseConfig, folder: Path) -> dict[str, Any]:
    """What is known for these settings; nothing of others."""
    path, settings = folder / FILE, plain(config)
    try:
        known = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:  # damaged by other hands: scored again
        known = {}
    if known.get("settings") == settings:
        return dict(known)
    return {"settings": settings, "scores": {}, "cut": {}}


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
    except (LookupError, OSError, zipfile.BadZipFile) as error:
        what = "not here" if isinstance(error, LookupError) else "damaged"
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
        self.layer = config.layer
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(self.device)
        self.longest = _longest(architecture, int(self.tokenizer.model_max_length))
        self.cut: set[str] = set()
        """Texts of which only the beginning was seen."""
        ends = (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)
        self._special = torch.tensor([each for each in ends if each is not None])
        self._lead = " " if architecture.model_type in _SPACED else ""

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, float]]:
        """P_BERT and R_BERT of (gold, reply) pairs (Zhang et al., 2020, section 3), without weights
        or rescaling: the mean over the tokens of the reply, or of the gold answer, of the greatest
        cosine with a token of the other. 0 if either has no token."""
        texts = sorted({text.strip() for pair in pairs for text in pair}, key=lambda t: (len(t), t))
        states: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for start in range(0, len(texts), _BATCH):
            some = texts[start : start + _BATCH]
            states |= zip(some, self._states(some), strict=True)
        found = []
        for gold, reply in pairs:
            expected, said = states[gold.strip()], states[reply.strip()]
            found.append(
                {
                    "bertscore_precision": _best(said, expected),
                    "bertscore_recall": _best(expected, said),
                }
            )
        return found

    @torch.no_grad()
    def _states(self, texts: Sequence[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of each text its states, (tokens, width), of length 1, and which tokens are of the text
        itself: those that open and close it can be matched, but need not be."""
        led = [self._lead + text for text in texts]
        lengths = [len(each) for each in self.tokenizer(led, truncation=False)["input_ids"]]
        self.cut |= {t for t, length in zip(texts, lengths, strict=True) if length > self.longest}
        batch = self.tokenizer(
            led, padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        )
        special = torch.isin(batch["input_ids"], self._special)
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
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigError(
        f"paraphrase.bertscore={config.bertscore!r} cannot be loaded ({reason}); give a local"
        " folder, connect to the hub, or set"
        " paraphrase.bertscore=null"
    )


def _longest(architecture: Any, most: int) -> int:
    """Most tokens of a text: of the tokenizer's limit and the encoder's positions the lesser."""
    positions = getattr(architecture, "max_position_embeddings", None) or _NO_LIMIT
    if architecture.model_type == "roberta":  # its first positions stand for padding
        positions -= architecture.pad_token_id + 1
    limit = min(most, positions)
    return limit if limit < _NO_LIMIT else 512


def _best(
    own: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> float:
    """The mean over a text's own tokens of the greatest cosine with a token of the other text."""
    if not own[1].any() or not other[1].any():
        return 0.0
    mean = (own[0][own[1]] @ other[0].T).max(dim=1).values.mean()
    return min(1.0, float(mean))  # cosines are rounded
