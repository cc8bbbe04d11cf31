import json
from dataclasses import replace

import pytest

from fullcontext.compose import ConfigError
from fullcontext.config import ProbeSource
from fullcontext.probe import contexts, pieces

WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty pieces of each task, in the fields of the release."""
    at = tmp_path_factory.mktemp("pieces")

    def write(name, lines):
        (at / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    sentences = [" ".join(f"{word}{i}" for word in WORDS) + "." for i in range(60)]
    write(
        "document_sentences.jsonl",
        [{"sentence": s, "piece": " ".join(s.split()[2:10])} for s in sentences],
    )
    write(
        "code_functions.jsonl",
        [
            {
                "function_name": f"function_{i:03}",
                "function_define": f"    a = {i:03}\n    b = call({i:03})\n    return b",
                "piece": f"b = call({i:03})",
            }
            for i in range(60)
        ],
    )
    entities = [
        {"id": f"Q{i:03}", "label": f"[Name {i:03}]", "dcpt": f"place {i:03} on Earth"}
        for i in range(60)
    ]
    # Neither can be asked: a description is shared, a label is part of every line.
    entities += [dict(entities[0], id="Q990"), {"id": "Q991", "label": "label", "dcpt": "a word"}]
    write("database_entities.jsonl", entities)
    return at


@pytest.mark.parametrize("task", ["document", "code", "database", "spread"])
def test_contexts_are_made_of_the_released_pieces(folder, text, task):
    config, prompt = text
    probe = replace(
        config.probe,
        source=ProbeSource.pieces,
        path=str(folder),
        context_tokens=900,
        questions=None,
    )
    found = contexts.context(task, prompt, config.data, probe, 0, 0)
    assert contexts.ambiguities(task, found.items) == []
    names = {"document": "alpha", "code": "def function_", "database": "<id: Q", "spread": "<id: Q"}
    assert all(item.text.startswith(names[task]) for item in found.items)
    assert len({item.text for item in found.items}) == len(found.items) >= 10
    other = contexts.context(task, prompt, config.data, probe, 0, 1)
    assert other.items != found.items


def test_an_entity_that_is_part_of_every_line_is_never_asked(folder):
    ids = {item.mark for item in pieces.candidates("database", str(folder), 0, 0)}
    assert "Q990" in ids
    assert "Q991" not in ids


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no code_functions\.jsonl"):
        list(pieces.candidates("code", str(tmp_path), 0, 0))
    (tmp_path / "document_sentences.jsonl").write_text('{"sentence": "a"}\n')
    with pytest.raises(ConfigError, match="line 1: not a JSON object with sentence, piece"):
        list(pieces.candidates("document", str(tmp_path), 0, 0))
