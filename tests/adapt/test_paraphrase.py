"""METEOR and BERTScore are those of the packages that LooGLE uses, but for what it got wrong."""

from types import SimpleNamespace

import bert_score
import nltk
import pytest
import torch
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.corpus.util import LazyCorpusLoader
from transformers import BertConfig, BertModel, BertTokenizerFast

from fullcontext.adapt import paraphrase
from fullcontext.adapt.documents import Question
from fullcontext.compose import ConfigError
from fullcontext.config import ParaphraseConfig

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += ["the", "cat", "sat", "on", "mat", "a", "dog", "in", "house", "red"]


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


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ParaphraseConfig:
    """A tiny BERT of three layers that takes 12 tokens."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=12)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(WORDS), num_hidden_layers=3, **shape)
    BertModel(config).save_pretrained(folder)
    return ParaphraseConfig(bertscore=str(folder), layer=2)


def asked(*pairs: tuple[str, str], kind: str = "short") -> list[tuple[Question, str]]:
    return [(Question("q", "?", (gold,), kind), reply) for gold, reply in pairs]


def test_bertscore_is_the_recall_of_its_authors_package(encoder) -> None:
    golds = ["the cat sat on the mat", "a dog", "red house", "a a a"]
    replies = ["the dog sat", "a dog", "the mat in a red house", "dog"]
    found = paraphrase.Encoder(encoder).recall(list(zip(golds, replies, strict=True)))
    _, recall, _ = bert_score.score(
        replies, golds, model_type=encoder.bertscore, num_layers=2, device="cpu"
    )
    assert found == pytest.approx(recall.tolist(), abs=1e-6)
    assert found[1] == pytest.approx(1) and max(found[0], found[2], found[3]) < 0.999


def test_of_several_gold_answers_the_best_counts(encoder) -> None:
    both = Question("q", "?", ("red house", "a dog"))
    found, _ = paraphrase.scored(encoder, [(both, "a dog")])
    assert found[0]["bertscore_recall"] == pytest.approx(1)


def test_an_empty_answer_has_no_score_but_zero(encoder) -> None:
    found, counted = paraphrase.scored(encoder, asked(("a dog", " "), ("", "a dog")))
    assert [each["bertscore_recall"] for each in found] == [0, 0] and not counted


def test_what_the_encoder_could_not_see_is_counted(encoder) -> None:
    long = "the cat sat on the mat in a red house a dog"
    _, counted = paraphrase.scored(encoder, asked((long, "a dog"), (long, long)))
    assert counted == {"texts of more than 12 tokens, cut for BERTScore": 1}


@pytest.mark.parametrize("kind", paraphrase.NOT_TEXT)
def test_names_and_numerals_have_no_paraphrase(encoder, kind: str) -> None:
    assert paraphrase.scored(encoder, asked(("a dog", "a dog"), kind=kind)) == ([{}], {})


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


@pytest.mark.parametrize(("made", "state"), [(".", "not here"), ("corpora/wordnet", "damaged")])
def test_without_wordnet_the_command_that_fetches_it_is_said(
    monkeypatch, tmp_path, made: str, state: str
) -> None:
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    fresh = LazyCorpusLoader("wordnet", WordNetCorpusReader, object())
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(nltk.corpus, "wordnet", fresh)
    with pytest.raises(ConfigError, match=rf"{state}; python -m nltk\.downloader wordnet"):
        paraphrase.check(ParaphraseConfig(meteor=True))
