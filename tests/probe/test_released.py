import json
from dataclasses import replace

import pytest

from fullcontext.compose import ConfigError
from fullcontext.config import ProbeSource
from fullcontext.probe import contexts, database, released

HEAD = "[INST] Below is a context and an instruction.\n\n### Context:\n"
TAIL = "\n\n### Instruction:\n{question} [/INST]"
ITEMS = 40


def functions(set_id):
    return [
        (f"name_{set_id}_{i:02}", f"x = {i}\n    y = f{set_id}({i:02})\n    return y")
        for i in range(ITEMS)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sets of 40 functions and of 40 entities in the format of the release."""
    at = tmp_path_factory.mktemp("released")
    rows = []
    for set_id in range(2):
        made = functions(set_id)
        context = "\n".join(f"def {name}:\n    {body}" for name, body in made)
        for i, (name, body) in enumerate(made):
            # The line of position 3 stands in every function: it is ambiguous.
            line = "return y" if i == 3 else body.split("\n")[1].strip()
            question = f'In above context, which function contains the code snip "{line}" ?'
            prompt = HEAD + context + TAIL.format(question=question)
            rows.append({"prompt": prompt, "completion": name, "set_id": set_id, "position_id": i})
    (at / "code_backward_32k.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    context = "\n".join(
        f"<id: Q{i:02}, label: Name {i:02}, description: place {i:02}>" for i in range(ITEMS)
    )
    question = database.QUESTION.replace("{id}", "Q{:02}")
    rows = [
        {
            "prompt": HEAD + context + TAIL.format(question=question.format(i)),
            "label": f"Name {i:02}", "description": f"place {i:02}", "set_id": 0, "position_id": i,
        }
        for i in range(ITEMS)
    ]  # fmt: skip
    (at / "database_forward_32k.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return at


def test_a_prompt_is_taken_apart_into_items_and_questions(folder):
    first, second = released.read("code", str(folder))
    assert (first.set, second.set) == (0, 1)
    assert len(first.items) == ITEMS
    assert first.items[0].text == "def name_0_00:\n    x = 0\n    y = f0(00)\n    return y"
    assert (first.items[7].mark, first.items[7].gold) == ("y = f0(07)", "name_0_07")
    (entities,) = released.read("database", str(folder))
    assert entities.items[5].mark == "Q05"
    assert entities.items[5].gold == "label: Name 05, description: place 05"


def test_a_question_with_two_answers_is_not_asked_but_its_item_stays(folder, caplog):
    given = released.unambiguous("code", released.read("code", str(folder))[0])
    assert given.items[3].question == ""
    assert len(given.items) == ITEMS
    assert "1 of 40 questions have more than one answer and are not asked (3)" in caplog.text


def probe_of(config, folder, **changes):
    return replace(
        config.probe, source=ProbeSource.released, path=str(folder), tasks=["code"], contexts=4,
        questions=None, **changes,
    )  # fmt: skip


def test_the_order_of_the_release_is_kept_in_any_model_s_prompt(folder, text):
    config, prompt = text
    probe = probe_of(config, folder, context_tokens=4096)
    sets = contexts.build(prompt, config.data, probe, 0, 8192)["code"]
    assert [each.set for each in sets] == [0, 1]  # the release here has two
    names = [f"def {name}:" for name, _ in functions(0)]
    assert [item.text.split("\n")[0] for item in sets[0].items] == names
    assert [query.position for query in sets[0].queries] == [i for i in range(ITEMS) if i != 3]
    decoded = prompt.encoder.tokenizer.decode(sets[0].example.context)
    assert "Below is a context and an instruction" not in decoded.split("### Context")[1]


def test_a_shorter_length_takes_the_first_items(folder, text):
    config, prompt = text
    probe = probe_of(config, folder, context_tokens=700)
    sets = contexts.build(prompt, config.data, probe, 0, 8192)["code"]
    taken = len(sets[0].items)
    assert 10 <= taken < ITEMS
    assert sets[0].items[0].text.startswith("def name_0_00:")
    assert sets[0].tokens > 0
    longest = max(len(a.prompt) + max(len(a.answer), 48) for a in sets[0].example.asked)
    assert len(sets[0].example.context) + longest <= 700


def test_what_is_not_the_release_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"no document_bi_32k\.jsonl"):
        released.read("document", str(folder))
    (tmp_path / "code_backward_32k.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(ConfigError, match="without position_id, set_id"):
        released.read("code", str(tmp_path))
    row = {"prompt": "x", "set_id": 0, "position_id": 0, "completion": "x"}
    (tmp_path / "code_backward_32k.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match="in another template"):
        released.read("code", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        released.read("code", "no-such-name/at-all")
