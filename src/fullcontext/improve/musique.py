"""Problems out of MuSiQue-Ans and whole Wikipedia articles (SEALONG, section 2.1).

A question's context holds the articles of all its paragraphs' titles: the supporting ones, and
others as long as they fit into a drawn length, in random order.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fullcontext.compose import ConfigError
from fullcontext.config import ImproveConfig, MusiquePrompts
from fullcontext.data import files, hub
from fullcontext.data.tokens import Prompt
from fullcontext.evaluate.sub_em.scoring import HEAD
from fullcontext.improve import prompting, squad
from fullcontext.improve.problems import Problem, problem
from fullcontext.randomness import rng

CANDIDATES = 2
"""Questions that are looked at for each that is wanted: some lack an article."""
STEP = 1024
"""Tokens between two lengths that may be drawn."""
_LONGEST = 50_000_000
_FIELDS = {
    "questions": ("id", "question", "answer", "paragraphs"), "articles": ("title", "text"),
}  # fmt: skip
_FORMATS = {
    "questions": "files of MuSiQue's own format",
    "articles": "files with the title and the text of an article in each record",
}
_DASHES = str.maketrans({"–": "-", "—": "-", ".": None})

Record = dict[str, Any]


def problems(
    config: ImproveConfig, prompt: Prompt, number: int, dropped: Counter[str]
) -> list[Problem]:
    """The problems of round `number`, from 0; what is left out is counted by reason.

    Raises ConfigError if questions or articles are not here, or no question has all its articles.
    """
    settings = config.prompts
    assert isinstance(settings, MusiquePrompts)
    read = _read(settings.questions, None, "questions", dropped)
    everything = [record for record in read if record.get("answerable", 1)]
    order = rng(config.seed, "order of musique").permutation(len(everything))
    most = settings.number * CANDIDATES
    turn = [int(order[i % len(order)]) for i in range(number * most, (number + 1) * most)]
    asked = [everything[i] for i in dict.fromkeys(turn)]
    titles = {title(p["title"]) for record in asked for p in record["paragraphs"]}
    articles = _articles(settings, titles, dropped)
    made: list[Problem] = []
    for record in asked:
        if len(made) == settings.number:
            break
        found = _problem(record, articles, config, prompt)
        if isinstance(found, str):
            dropped[found] += 1
        else:
            made.append(found)
    return made


def title(text: str) -> str:
    """A title in the form in which questions and articles are matched."""
    return re.sub(r"\s+", " ", text.lower().translate(_DASHES)).strip()


def _problem(
    record: Record, articles: Mapping[str, str], config: ImproveConfig, prompt: Prompt
) -> Problem | str:
    settings = config.prompts
    assert isinstance(settings, MusiquePrompts)
    golds = squad.usable([record["answer"], *record.get("answer_aliases", [])])
    if not golds:
        return "gold answer is empty once articles and signs go"
    supporting, others = _titles(record)
    if not all(each in articles for each in supporting):
        return "a supporting title has no article"
    draw = rng(config.seed, f"musique {record['id']}")
    low, high = settings.least_tokens, settings.most_tokens
    target = min(high, low + STEP * int(draw.integers((high - low) // STEP + 1)))
    question = prompting.asked(record["question"], settings.prompting)
    after = f"Question: {question}"
    fixed = len(prompt.shared(HEAD)) + len(prompt.follow(after, "").prompt)
    sizes = {t: _size(articles[t], prompt) for t in (*supporting, *others) if t in articles}
    total = fixed + sum(sizes[each] for each in supporting)
    if total > high:
        return "supporting articles longer than prompts.most_tokens"
    chosen = list(supporting)
    for place in draw.permutation(len(others)).tolist():
        size = sizes.get(others[place])
        if size is not None and total + size <= target:
            chosen.append(others[place])
            total += size
    shuffled = [chosen[i] for i in draw.permutation(len(chosen)).tolist()]
    passages = "".join(_passage(i, articles[t]) for i, t in enumerate(shuffled, 1))
    return problem(record["id"], "musique", f"{HEAD}{passages}\n", after, golds, prompt)


def _titles(record: Record) -> tuple[list[str], list[str]]:
    """Distinct titles of supporting paragraphs, and of the others."""
    supporting = dict.fromkeys(
        title(p["title"]) for p in record["paragraphs"] if p["is_supporting"]
    )
    every = dict.fromkeys(title(p["title"]) for p in record["paragraphs"])
    return list(supporting), [each for each in every if each not in supporting]


def _passage(number: int, text: str) -> str:
    return f"Passage {number}:\n{text.strip()}\n"


def _size(text: str, prompt: Prompt) -> int:
    """Tokens of a passage; its number may take one more."""
    return len(prompt.encoder.encode(_passage(20, text)))


def _articles(settings: MusiquePrompts, titles: set[str], dropped: Counter[str]) -> dict[str, str]:
    """Normal title -> text of the articles that are needed; the first of equal titles."""
    found: dict[str, str] = {}
    for record in _read(settings.articles, settings.articles_config, "articles", dropped):
        name = title(str(record["title"]))
        if name in titles:
            found.setdefault(name, str(record["text"]))
    if not found:
        raise ConfigError(
            f"prompts.articles={settings.articles!r} has none of the {len(titles):,} articles that"
            " the questions are about; name the Wikipedia that they were made from"
        )
    return found


def _read(path: str, config: str | None, key: str, dropped: Counter[str]) -> Iterator[Record]:
    for place, record in _records(path, config, key):
        if record is None:
            dropped[f"line of prompts.{key} longer than {_LONGEST:,} characters"] += 1
            continue
        if missing := [name for name in _FIELDS[key] if name not in record]:
            raise ConfigError(
                f"prompts.{key}={path!r}: {place} has no {' and no '.join(missing)}; name"
                f" {_FORMATS[key]}"
            )
        yield record


def _records(path: str, config: str | None, key: str) -> Iterator[tuple[str, Record | None]]:
    """Where each record stands, and the record; None of a line that is too long."""
    if Path(path).expanduser().exists():
        given = files.found(path, f"prompts.{key}")
        for file in given.files:
            if files.kind(file) in (".jsonl", ".parquet"):
                yield from files.records(file, given.name(file), None, _LONGEST)
        return
    setting = hub.Setting(
        path=f"prompts.{key}", config=f"prompts.{key}_config", split="train",
        instead="prompts=own, or a local file",
    )  # fmt: skip
    for number, record in enumerate(hub.records(path, config, "train", setting)):
        yield f"record {number}", record
