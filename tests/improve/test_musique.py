"""MuSiQue's questions stand among whole articles: all that support them, others up to a length."""

import json
from collections import Counter
from pathlib import Path

import pytest

from fullcontext.compose import ConfigError, compose_verb
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.improve import musique
from fullcontext.improve.problems import Problem
from fullcontext.model import tokenizer

ARTICLES = 12


def record(number: int, titles: list[str], supporting: int = 2, **other) -> dict:
    """A question about the first articles of `titles`, in MuSiQue's own format."""
    paragraphs = [
        {"title": title, "paragraph_text": "A part.", "is_supporting": place < supporting}
        for place, title in enumerate(titles)
    ]
    return {
        "id": f"2hop__{number}", "question": f"Who made thing {number}?",
        "answer": f"Maker {number}", "answer_aliases": [], "answerable": True,
        "paragraphs": paragraphs, **other,
    }  # fmt: skip


def lines(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))


@pytest.fixture
def words(in_folder: Path) -> list[str]:
    """Ten questions, each about two of 12 articles of about 200 tokens, with ten others."""
    articles = [
        {"title": f"Thing No. {i}", "text": f"Here is thing {i}. " + "It is big. " * 48}
        for i in range(ARTICLES)
    ]
    lines(in_folder / "articles.jsonl", articles)
    turned = [[f"Thing No {(i + j) % ARTICLES}" for j in range(ARTICLES)] for i in range(10)]
    lines(in_folder / "questions.jsonl", [record(i, titles) for i, titles in enumerate(turned)])
    return [
        "prompts=musique", "prompts.questions=questions.jsonl", "prompts.articles=articles.jsonl",
        "prompts.least_tokens=700", "prompts.most_tokens=1800", "prompts.number=5", "model=tiny",
    ]  # fmt: skip


def made(words: list[str], round: int = 0) -> tuple[list[Problem], Counter[str]]:
    config = compose_verb("improve", words)
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    dropped: Counter[str] = Counter()
    return musique.problems(config, prompt, round, dropped), dropped


def test_a_context_holds_all_supporting_articles_whole_and_others_up_to_a_drawn_length(
    words: list[str],
) -> None:
    found, dropped = made(words)
    assert len(found) == 5 and not dropped
    for each in found:
        number = int(each.id.removeprefix("2hop__"))
        for thing in (number, number + 1):
            assert f"Here is thing {thing % ARTICLES}. It is big." in each.before
        passages = each.before.split("Passage ")[1:]
        assert all(passage.count("It is big.") == 48 for passage in passages), "whole articles"
        assert 400 < each.tokens <= 1800
        assert each.golds == (f"Maker {number}",)
        assert each.after.startswith(f"Question: Who made thing {number}?\nLet's first understand")
    assert len({each.before.count("Passage ") for each in found}) > 1, "700 and 1,724 are drawn"


def test_rounds_have_questions_of_their_own_and_the_same_each_time(words: list[str]) -> None:
    words.append("prompts.number=2")  # of four that are looked at in each round
    first, second = made(words)[0], made(words, 1)[0]
    assert first == made(words)[0] and len(first) == len(second) == 2
    assert not {each.id for each in first} & {each.id for each in second}


def test_what_cannot_be_asked_is_counted_by_reason(words: list[str], in_folder: Path) -> None:
    titles = [f"Thing No {i}" for i in range(ARTICLES)]
    questions = [
        record(0, ["Nobody wrote this", *titles]),
        record(1, titles, answer="The"),
        record(2, titles, supporting=ARTICLES),
        record(3, titles, answerable=False),
        record(4, titles),
    ]
    lines(in_folder / "questions.jsonl", questions)
    found, dropped = made(words)
    assert [each.id for each in found] == ["2hop__4"]
    assert dropped == {
        "a supporting title has no article": 1,
        "gold answer is empty once articles and signs go": 1,
        "supporting articles longer than prompts.most_tokens": 1,
    }


def test_files_of_another_format_are_refused(words: list[str], in_folder: Path) -> None:
    lines(in_folder / "questions.jsonl", [{"id": "a", "question": "Who?"}])
    with pytest.raises(ConfigError, match=r"questions.jsonl:1 has no answer and no paragraphs"):
        made(words)
    lines(in_folder / "questions.jsonl", [record(0, ["Elsewhere"], supporting=1)])
    with pytest.raises(ConfigError, match="has none of the 1 articles"):
        made(words)


def test_titles_are_matched_in_the_form_of_the_published_code() -> None:
    assert musique.title("St.  Mary's — Church") == "st mary's - church"
