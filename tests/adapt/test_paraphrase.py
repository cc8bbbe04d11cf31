"""METEOR and BERTScore are those of the packages that LooGLE uses, but for what it got wrong."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bert_score
import nltk
import pytest
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.corpus.util import LazyCorpusLoader
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

from fullcontext.adapt import paraphrase
from fullcontext.adapt.documents import Question
from fullcontext.compose import ConfigError
from fullcontext.config import ParaphraseConfig
from fullcontext.launch import StopFlag
from tests.adapt.encoders import SHAPE, bert, saved


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ParaphraseConfig:
    return bert(tmp_path_factory.mktemp("bert"))


class Thesaurus:
    """What METEOR asks WordNet: the synsets of a word, with their lemmas."""

    def __init__(self, *groups: str) -> None:
        self.groups = [group.split() for group in groups]

    def synsets(self, word: str) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                lemmas=lambda group=group: [
                    SimpleNamespace(name=lambda lemma=lemma: lemma) for lemma in group
                ]
            )
            for group in self.groups
            if word in group
        ]


def asked(*pairs: tuple[str, str], kind: str = "short") -> list[tuple[Question, str]]:
    return [(Question("q", "?", (gold,), kind), reply) for gold, reply in pairs]


def scores(
    config: ParaphraseConfig, given: list[tuple[Question, str]], folder: Path
) -> tuple[list[dict[str, float]], dict[str, int]]:
    paraphrase.score(config, given, folder, StopFlag())
    return paraphrase.scored(config, given, folder)


def test_bertscore_is_that_of_its_authors_package(encoder) -> None:
    golds = ["the cat sat on the mat", "a dog", "red house", "a a a", "zebra"]
    replies = ["the dog sat", "a dog", "the mat in a red house", "dog", "a zebra"]
    found = paraphrase.Encoder(encoder).scores(list(zip(golds, replies, strict=True)))
    precision, recall, _ = bert_score.score(
        replies, golds, model_type=encoder.bertscore, num_layers=2, device="cpu"
    )
    for name, wanted in (("precision", precision), ("recall", recall)):
        given = [each[f"bertscore_{name}"] for each in found]
        assert given == pytest.approx(wanted.tolist(), abs=1e-6)
    assert found[1]["bertscore_recall"] == pytest.approx(1)


def test_recall_is_of_the_gold_answer_and_precision_of_the_reply(encoder) -> None:
    one = paraphrase.Encoder(encoder).scores([("dog", "the dog in a house")])[0]
    other = paraphrase.Encoder(encoder).scores([("the dog in a house", "dog")])[0]
    assert one["bertscore_recall"] == pytest.approx(other["bertscore_precision"])
    assert one["bertscore_precision"] == pytest.approx(other["bertscore_recall"])
    assert one["bertscore_recall"] != pytest.approx(one["bertscore_precision"], abs=1e-3)


def test_roberta_reads_the_first_word_as_any_other(tmp_path: Path) -> None:
    """As the authors' package does: a gold answer of one word is then the word within a reply."""
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "Ġ": 6, "Ġa": 7}
    tokenizer = RobertaTokenizerFast(vocab=vocabulary, merges=[("Ġ", "a")])
    made = RobertaModel(
        RobertaConfig(
            vocab_size=8, num_hidden_layers=2, max_position_embeddings=12, pad_token_id=1, **SHAPE
        )
    )
    config = saved(tmp_path, made, tokenizer)
    found = paraphrase.Encoder(config)
    seen: list[list[int]] = []
    found.model.register_forward_pre_hook(
        lambda module, args, given: seen.extend(given["input_ids"].tolist()), with_kwargs=True
    )
    found.scores([("a", "a a")])
    assert sorted(seen, key=lambda ids: ids.count(7)) == [[0, 7, 2, 1], [0, 7, 7, 2]]
    assert found.longest == 10, "two positions stand for padding"


def test_of_several_gold_answers_the_best_counts(encoder, tmp_path: Path) -> None:
    both = Question("q", "?", ("red house", "a dog"))
    found, _ = scores(encoder, [(both, "a dog")], tmp_path)
    assert found[0]["bertscore_recall"] == pytest.approx(1)


@pytest.mark.parametrize("nothing", ["", " ", "\u200b"])
def test_a_text_without_a_token_scores_zero_on_either_side(encoder, nothing, tmp_path) -> None:
    found, counted = scores(encoder, asked(("a dog", nothing), (nothing, "a dog")), tmp_path)
    assert [set(each.values()) for each in found] == [{0.0}, {0.0}] and not counted


def test_what_the_encoder_could_not_see_is_counted(encoder, tmp_path: Path) -> None:
    long = "the cat sat on the mat in a red house a dog"
    _, counted = scores(encoder, asked((long, "a dog"), (long, long)), tmp_path)
    assert counted == {"texts of more than 12 tokens, cut for BERTScore": 1}


@pytest.mark.parametrize("kind", paraphrase.NOT_TEXT)
def test_names_and_numerals_have_no_paraphrase(encoder, kind: str, tmp_path: Path) -> None:
    assert scores(encoder, asked(("a dog", "a dog"), kind=kind), tmp_path) == ([{}], {})


def test_nothing_is_scored_twice_and_a_stopped_scoring_goes_on(
    encoder, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(paraphrase, "_TOGETHER", 1)
    given = asked(("a dog", "a dog"), ("red house", "a dog"))
    stop = StopFlag()
    stop.name = "SIGTERM"
    with pytest.raises(SystemExit):
        paraphrase.score(encoder, given, tmp_path, stop)
    whole = scores(encoder, given, tmp_path / "other")
    scored = []
    real = paraphrase.Encoder.scores
    monkeypatch.setattr(
        paraphrase.Encoder, "scores", lambda self, some: scored.extend(some) or real(self, some)
    )
    assert scores(encoder, given, tmp_path) == whole and len(scored) == 1
    assert scores(encoder, given, tmp_path) == whole and len(scored) == 1
    other = replace(encoder, layer=1)
    assert scores(other, given, tmp_path) != whole and len(scored) == 3
    (tmp_path / paraphrase.FILE).write_text('{"settings"')
    assert scores(encoder, given, tmp_path) == whole and len(scored) == 5


def test_an_encoder_that_is_not_here_is_named_before_anything_is_learnt(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"bertscore='.*nowhere' cannot be loaded"):
        paraphrase.check(ParaphraseConfig(bertscore=str(tmp_path / "nowhere")))


def test_a_layer_that_the_encoder_lacks_is_refused(encoder) -> None:
    with pytest.raises(ConfigError, match=r"paraphrase\.layer=17, but .* has 3 layers"):
        paraphrase.check(ParaphraseConfig(bertscore=encoder.bertscore))


def test_meteor_weighs_recall_nine_times_and_counts_chunks() -> None:
    # Three of four gold words in one run: P = 1, R = 3/4, F = 10 P R / (R + 9 P) = 0.769, less
    # half the cube of (1 chunk / 3 words).
    expected = 10 * 0.75 / (0.75 + 9) * (1 - 0.5 * (1 / 3) ** 3)
    assert paraphrase.meteor("the cat sat down", "the cat sat", Thesaurus()) == pytest.approx(
        expected
    )


def test_meteor_grants_synonyms_and_stems() -> None:
    words = Thesaurus("physician doctor")
    assert paraphrase.meteor("doctor", "physician", Thesaurus()) == 0
    assert paraphrase.meteor("doctor", "physician", words) == 0.5
    assert paraphrase.meteor("walking", "walked", Thesaurus()) == 0.5


def test_meteor_takes_each_word_once() -> None:
    once, twice = "the cat saw a dog", "the cat saw the cat saw a dog"
    words = Thesaurus()
    assert paraphrase.meteor(twice, once, words) == paraphrase.meteor(once, once, words)


@pytest.mark.parametrize(
    ("made", "content", "state"),
    [
        ("none", None, "not here"),
        ("corpora/wordnet/lexnames", b"", "damaged"),
        ("corpora/wordnet.zip", b"PK half", "damaged"),
    ],
)
def test_without_wordnet_the_command_that_fetches_it_is_said(
    monkeypatch, tmp_path, made: str, content: bytes | None, state: str
) -> None:
    if content is not None:
        (tmp_path / made).parent.mkdir(parents=True)
        (tmp_path / made).write_bytes(content)
    fresh = LazyCorpusLoader("wordnet", WordNetCorpusReader, object())
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(nltk.corpus, "wordnet", fresh)
    with pytest.raises(ConfigError, match=rf"{state}; python -m nltk\.downloader wordnet"):
        paraphrase.check(ParaphraseConfig(meteor=True))
