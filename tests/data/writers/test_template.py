"""The template writer asks real, answerable, unambiguous things."""

import asyncio
import re
from collections import Counter
from itertools import islice

import pytest

from fullcontext.config import FiltersConfig, SotuCorpus, TemplateWriter
from fullcontext.data import corpus, questions, segments
from fullcontext.data.filters import Filters
from fullcontext.data.tokens import Encoder
from fullcontext.data.writers import names
from fullcontext.data.writers.template import GAP, Template
from fullcontext.records import Document, Question, Segment
from tests.data.tokenizers import family

KINDS = ("fine_grained", "integration", "short_context", "instruction")


@pytest.fixture(scope="module")
def asked() -> tuple[list[Question], dict[str, Segment], list[Document]]:
    documents = list(islice(corpus.read(SotuCorpus(), 0, Counter()), 16))
    encoder, writer = Encoder(family("sentencepiece")), Template()
    writer.prepare(documents)
    settings = {"segment_size": 128, "text_tokens": 600, "separator": "\n", "dropped": Counter()}
    found, pieces = [], {}
    checks = Filters(FiltersConfig(), (), None)
    for document in documents:
        for text, cut in segments.texts(document, encoder, **settings):
            pieces |= {piece.id: piece for piece in cut}
            for asking in questions.askings(text, cut, KINDS):
                outcome = asyncio.run(questions.ask(asking, writer, checks, 0))
                found += [outcome.question] if outcome.question else []
    return found, pieces, documents


def test_every_kind_is_asked(asked) -> None:
    counts = Counter(q.kind for q in asked[0])
    assert set(counts) == set(KINDS) and min(counts.values()) > 20


def flat(segment: Segment) -> str:
    return " ".join(segment.text.split())


def test_the_gap_is_filled_by_the_evidence(asked) -> None:
    found, pieces, _ = asked
    gaps = [q for q in found if q.kind == "fine_grained" and GAP in q.question]
    assert len(gaps) > 50
    for question in gaps:
        statement = re.search(r'"(.*)"', question.question).group(1)
        filled = statement.replace(GAP, question.answer)
        assert filled in flat(pieces[question.evidence[0]]), question


def test_what_is_quoted_stands_once_in_the_corpus(asked) -> None:
    found, _, documents = asked
    text = " ".join(" ".join(d.text.split()) for d in documents)
    for question in found:
        if question.kind != "fine_grained":
            continue
        quote = re.search(r'"(.*)"', question.question).group(1)
        pattern = re.escape(quote).replace(re.escape(GAP), r".{1,60}?")
        assert len(re.findall(pattern, text)) == 1, question


def test_integration_needs_two_segments(asked) -> None:
    found, pieces, _ = asked
    for question in (q for q in found if q.kind == "integration"):
        first, second = re.findall(r'[AB]: "(.*?)"(?= B:| [WH])', question.question)
        assert len(question.evidence) == 2 and len(question.context) >= 2
        for statement in (first, second):
            start, end = statement.split(GAP)
            holding = [
                i for i in question.evidence if start in flat(pieces[i]) and end in flat(pieces[i])
            ]
            assert len(holding) == 1, question


def test_comparisons_are_right(asked) -> None:
    found, pieces, _ = asked
    compared = [q for q in found if "Which missing sum is larger" in q.question]
    assert compared
    for question in compared:
        values = {}
        for name, statement in re.findall(r'([AB]): "(.*?)"(?= B:| [WH])', question.question):
            start, end = statement.split(GAP)
            text = next(
                flat(pieces[i])
                for i in question.evidence
                if start in flat(pieces[i]) and end in flat(pieces[i])
            )
            figure = text.split(start)[1].split(end)[0] if start else text.split(end)[0].split()[-1]
            values[name] = float(figure.strip("$").replace(",", ""))
        larger = max(values, key=values.get)
        assert question.answer.startswith(f"{larger}: ")


def test_answers_are_not_given_away(asked) -> None:
    for question in asked[0]:
        if question.kind == "fine_grained":
            assert question.answer not in question.question


def test_the_same_text_gets_the_same_question(asked) -> None:
    document = Document("x", asked[2][0].text, "s", "l", "x")
    encoder, ask = Encoder(family("sentencepiece")), Template()
    text, cut = next(
        segments.texts(
            document, encoder, segment_size=128, text_tokens=600, separator="\n", dropped=Counter()
        )
    )
    asking = questions.askings(text, cut, ("fine_grained",))[0]
    assert ask.ask(asking, 0) == Template().ask(asking, 0)


@pytest.mark.parametrize("onward", [False, True])
def test_a_sentence_may_be_asked_for_by_words_that_stand_once(asked, onward: bool) -> None:
    documents = asked[2][:2]
    encoder, writer = Encoder(family("sentencepiece")), Template(whole=1.0, onward=onward)
    writer.prepare(documents)
    text = " ".join(" ".join(document.text.split()) for document in documents)
    cuts = {"segment_size": 128, "text_tokens": 600, "separator": "\n", "dropped": Counter()}
    replies = [
        (writer.ask(asking, 0), flat(asking.segments[0]))
        for document in documents
        for short, cut in segments.texts(document, encoder, **cuts)
        for asking in questions.askings(short, cut, ("fine_grained",))
    ]
    begin = "Which sentence has the words" if onward else "Quote"
    quoting = [(r, segment) for r, segment in replies if r and r.question.startswith(begin)]
    assert len(quoting) > 20
    for reply, segment in quoting:
        piece = re.search(r'"(.*)"', reply.question).group(1)
        assert len(piece.split()) == 6 and text.count(piece) == 1
        assert piece in reply.answer and reply.answer in segment
        assert reply.answer.endswith(".")
        if onward:
            assert reply.answer.startswith(piece) and len(reply.answer.split()) >= 10
        else:
            assert reply.answer[0].isupper()


def test_a_share_of_whole_sentences_is_another_writer() -> None:
    writers = [Template(), Template(0.5), Template(1.0), Template(1.0, onward=True)]
    assert len({each.version for each in writers}) == 4 and Template().version == "template-4"


def test_sentences_from_some_words_on_need_a_share_of_questions() -> None:
    with pytest.raises(ValueError, match="a share of 0"):
        TemplateWriter(onward=True)


@pytest.mark.parametrize(
    ("before", "name", "after", "is_part"),
    [
        ("We passed the No ", "Child Left Behind", " and more", True),
        ("He met Senator ", "Kennedy", " there", True),
        ("A law of the ", "Act of March", " 14, 1900, says", True),
        ("They met ", "John", " McCain at noon", True),
        ("When ", "Spain", " was at war", False),
        ("The people of ", "Spain", ", however, were", False),
    ],
)
def test_a_name_that_goes_on_outside_is_a_part(before, name, after, is_part) -> None:
    assert names.is_part(before, name, after) is is_part
