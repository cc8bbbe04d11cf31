"""SEALONG's five sets: a gold answer stands in the output; one that says nothing is refused."""

import json
from pathlib import Path

import pytest

from fullcontext.compose import ConfigError
from fullcontext.evaluate.run import run
from fullcontext.evaluate.sub_em import scoring
from fullcontext.improve import musique

pytestmark = pytest.mark.filterwarnings("ignore")
SETS = ("qasper", "multifieldqa_en", "hotpotqa", "musique", "2wikimqa")
ALL = f"suite.tasks=[{','.join(f'sub_em_{name}' for name in SETS)}]"


def put(folder: Path, *answers: list[str]) -> Path:
    """LongBench's files, with a question for each list of gold answers."""
    for name in SETS:
        place = folder / "Xnhyacinth" / "LongBench" / name
        place.mkdir(parents=True)
        rows = [
            {"input": f"Which is {i}?", "context": "Passage 1:\nred blue\n", "answers": golds}
            for i, golds in enumerate(answers)
        ]
        lines = "".join(json.dumps({"question": row["input"], **row}) + "\n" for row in rows)
        (place / "test.jsonl").write_text(lines)
    return folder


@pytest.mark.parametrize(
    ("golds", "output", "expected"),
    [
        (["The Old Bridge"], "So it is an old bridge, of course.", 1.0),
        (["the", "Nile"], "the Danube", 0.0),  # "the" is nothing once articles go
        (["Paris", "Lutetia"], "It was called LUTETIA!", 1.0),
        (["12,000"], "about 12000 people", 1.0),
        (["blue"], "", 0.0),
    ],
)
def test_a_gold_answer_stands_in_the_output(golds: list[str], output: str, expected: float) -> None:
    assert scoring.score({"answers": golds}, [output])["sub_em"] == expected


def test_the_prompt_is_that_of_sampling() -> None:
    said = scoring.prompt({"input": "Who?", "context": "Passage 1:\nA.\n"})
    assert said.startswith(musique.HEAD + "Passage 1:\nA.\n\nQuestion: Who?\nLet's first")


def test_the_suite_scores_all_five_with_the_real_harness(evaluating, tmp_path, run_info) -> None:
    """A model at random says much and nothing right."""
    data = put(tmp_path / "data", ["zzzzzz"], ["qqqqqqqq", "yyyyyyyy"])
    config = evaluating("suite=sub_em", ALL, f"data_folder={data}", "tasks.include=null", "limit=1")
    run(config, run_info(tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    shown = {s["task"]: s["value"] for s in found["scores"] if s["shown"]}
    assert shown == {f"sub_em_{name}": 0.0 for name in SETS}
    words = [s["value"] for s in found["scores"] if s["metric"] == "words"]
    assert len(words) == 5 and min(words) > 1
    assert found["averages"] == [{"metric": "sub_em", "value": 0.0, "tasks": 5}]


def test_a_document_whose_gold_answers_say_nothing_is_refused(
    evaluating, tmp_path, run_info
) -> None:
    data = put(tmp_path / "data", ["blue"], ["The", "a"])
    config = evaluating("suite=sub_em", ALL, f"data_folder={data}", "tasks.include=null")
    with pytest.raises(ConfigError, match="document 1 has no gold answer that says anything"):
        run(config, run_info(tmp_path / "out"))
