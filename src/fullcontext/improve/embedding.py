"""Sentence embeddings as a utility: the cosine of two outputs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fullcontext.compose import ConfigError
from fullcontext.config import EmbeddingUtility
from fullcontext.improve.scoring import Matrix
from fullcontext.model import hub


class Embedder:
    """A model of sentence-transformers.

    Raises ConfigError if the package or the model is not here.
    """

    def __init__(self, config: EmbeddingUtility) -> None:
        self.config = config
        self._model = _load(config)

    def scores(self, texts: Sequence[str]) -> list[float]:
        """The mean cosine of each text with all."""
        distinct = sorted(set(texts))  # so that neither order nor number changes a batch
        options: dict[str, Any] = {"task": self.config.task} if self.config.task else {}
        found = np.asarray(
            self._model.encode(
                distinct, batch_size=self.config.batch_size, normalize_embeddings=True,
                show_progress_bar=False, convert_to_numpy=True, **options,
            ),
            np.float64,
        )  # fmt: skip
        at = {text: place for place, text in enumerate(distinct)}
        return mean_products(found[[at[text] for text in texts]])


def mean_products(embeddings: npt.NDArray[np.float64] | Matrix) -> list[float]:
    """The mean of each row's products with all rows, itself included; shape (texts, width)."""
    centre = np.array([math.fsum(column) / len(column) for column in embeddings.T.tolist()])
    return [math.fsum((row * centre).tolist()) for row in embeddings]


def _load(config: EmbeddingUtility) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigError(
            f"utility=embedding needs the package {error.name}; pip install 'fullcontext[improve]',"
            " or choose utility=rouge_l, which needs no download"
        ) from error
    try:
        model = SentenceTransformer(
            config.model, device=config.device, trust_remote_code=config.trust_remote_code,
            local_files_only=not hub.answers(),
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"utility.model={config.model!r} cannot be loaded ({str(error).splitlines()[0]}); give"
            " a local folder, connect to the hub, or choose utility=rouge_l"
        ) from error
    model.max_seq_length = min(model.max_seq_length or config.max_tokens, config.max_tokens)
    return model
