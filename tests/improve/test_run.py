"""The verb: three stages that resume, the same pairs from any number of processes, and rounds."""

import json
from pathlib import Path

import pytest

from fullcontext import stage
from fullcontext.compose import ConfigError, compose_verb
from fullcontext.data.pairs import FILE
from fullcontext.improve import run as verb
from fullcontext.improve.work import Work
from fullcontext.store import read_table

WORDS = [
    "model=symbols", "data=key_value_symbols", "prompts=own", "prompts.number=12",
    "prompts.prompting=default", "sampler.number=6", "sampler.max_new_tokens=6",
    "sampler.temperature=2", "tracking=none", "precision=fp32", "match=exact",
]  # fmt: skip
"""Random weights: outputs are noise, and half of them never end."""


def improved(info, *words: str) -> Path:
    config = compose_verb("improve", [*WORDS, *words])
    verb.run(config, info(Path("outputs/improve")))
    return Path(config.output) / config.name / "round_1"


def pairs(folder: Path) -> list[dict]:
    return read_table(folder / "pairs" / FILE).to_pylist()


def test_stages_leave_what_their_manifests_name_and_are_not_done_again(
    in_folder: Path, info, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = improved(info)
    found = pairs(folder)
    counts = json.loads((folder / "pairs" / "manifest.json").read_text())
    assert counts["pairs"] == len(found) and len(found) + sum(counts["dropped"].values()) == 12
    assert found and all(each["chosen"] != each["rejected"] for each in found)
    assert all(each["before"].endswith("\n") for each in found)
    (record,) = map(json.loads, (folder.parent / "metrics.jsonl").read_text().splitlines())
    assert (record["step"], record["pairs"]) == (1, len(found))
    assert record["gap/chosen_minus_random/low"] <= record["gap/chosen_minus_random"]
    assert record["length/chosen"] == pytest.approx(
        counts["tokens"]["chosen"] / counts["tokens"]["outputs"] - 1
    )
    monkeypatch.setattr("fullcontext.improve.stages.LocalOutputs", None)
    improved(info)
    (folder / "pairs" / "manifest.json").unlink()
    improved(info)
    assert pairs(folder) == found
    assert len((folder.parent / "metrics.jsonl").read_text().splitlines()) == 1


def test_two_processes_give_the_pairs_of_one(in_folder: Path, info) -> None:
    one = improved(info, "name=one")
    improved(info, "name=two", "parts=2", "part=1")
    two = improved(info, "name=two", "parts=2", "part=0")
    assert not (two / "pairs").exists(), "the other part has scores left"
    improved(info, "name=two", "parts=2", "part=1")
    for name in ("outputs/outputs.jsonl", "scores/scores.jsonl", f"pairs/{FILE}"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_killed_stage_loses_no_finished_problem(
    in_folder: Path, info, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = improved(info, "name=whole")
    made: list[str] = []
    record = verb.Round._sample.__globals__["LocalOutputs"].record

    def dying(self, problem):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(problem.id)
        return record(self, problem)

    monkeypatch.setattr("fullcontext.improve.stages.LocalOutputs.record", dying)
    with pytest.raises(KeyboardInterrupt):
        improved(info, "name=cut")
    cut = in_folder / "outputs/improve/cut/round_1/outputs/part-0-of-1.jsonl"
    with cut.open("a") as file:
        file.write('{"id": "key_val')  # a record that the kill cut off
    asked: list[str] = []
    monkeypatch.setattr(
        "fullcontext.improve.stages.LocalOutputs.record",
        lambda self, problem: asked.append(problem.id) or record(self, problem),
    )
    again = improved(info, "name=cut")
    assert len(asked) == 7 and not set(asked) & set(made)
    assert pairs(again) == pairs(whole)


def test_other_settings_are_refused_in_the_same_folder(in_folder: Path, info) -> None:
    improved(info)
    with pytest.raises(ConfigError, match=r"utility.*choose another name="):
        improved(info, "utility=token_f1")


def test_a_refused_command_changes_nothing_in_the_folder(in_folder: Path, info) -> None:
    folder = improved(info)
    before = {p: p.read_bytes() for p in folder.parent.rglob("*") if p.is_file()}
    for word in ("sampler.temperature=1", "utility=token_f1", "selector=random"):
        with pytest.raises(ConfigError, match="choose another name="):
            improved(info, word)
    after = {p: p.read_bytes() for p in folder.parent.rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.parametrize("file", ["outputs/outputs.jsonl", "scores/scores.jsonl", f"pairs/{FILE}"])
def test_a_damaged_stage_is_refused(in_folder: Path, info, file: str) -> None:
    folder = improved(info)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=f"{file} is not as it was written; delete"):
        improved(info)
    (folder / file).unlink()
    with pytest.raises(ConfigError, match=f"{file} is missing; delete"):
        improved(info)


def test_a_line_that_is_no_record_is_refused(in_folder: Path) -> None:
    work = Work(in_folder / "w", ["a", "b"], {"x": 1}, 0, 1)
    (work.folder / "part-0-of-1.jsonl").write_text('{"id": "a"}\n{"id": garbage\n')
    with pytest.raises(ConfigError, match=r"part-0-of-1.jsonl holds a line .* delete the file"):
        work.left()


def test_other_choices_share_the_samples_of_a_round(in_folder: Path, info) -> None:
    first = improved(info)
    other = improved(info, "name=other", f"samples={first}", "utility=token_f1", "first=3")
    assert not (other / "outputs").exists() and (other / "pairs" / "manifest.json").exists()


def test_samples_that_are_unfinished_or_too_few_are_refused_and_left_alone(
    in_folder: Path, info
) -> None:
    first = improved(info)
    with pytest.raises(ConfigError, match=r"first=7 is more than the 6 outputs of each prompt"):
        improved(info, "name=other", f"samples={first}", "sampler.number=8", "first=7")
    (first / "outputs" / "manifest.json").unlink()
    before = sorted(first.rglob("*"))
    with pytest.raises(ConfigError, match="has no finished outputs"):
        improved(info, "name=other", f"samples={first}")
    assert sorted(first.rglob("*")) == before


def test_scores_by_a_model_are_of_that_model(in_folder: Path, info) -> None:
    words = ["utility=self_eval", "utility.yes=v1", "utility.no=v2", "utility.question='{output}'"]
    first = improved(info, "name=first")
    improved(info, "name=judged", f"samples={first}", *words)
    with pytest.raises(ConfigError, match="weights"):
        improved(info, "name=judged", f"samples={first}", *words, "positions.rope_theta=5000")


def test_judging_words_that_begin_alike_are_refused(in_folder: Path, info) -> None:
    with pytest.raises(ConfigError, match="begin with the same token"):
        improved(info, "utility=self_eval", "utility.yes=v1", "utility.no=v1")


def test_the_model_judges_its_own_outputs(in_folder: Path, info) -> None:
    folder = improved(
        info, "utility=self_eval", "utility.yes=v1", "utility.no=v2", "utility.question='{output}'"
    )
    lines = (folder / "scores" / "scores.jsonl").read_text().splitlines()
    scores = [score for line in lines for score in json.loads(line)["scores"]]
    assert all(0 < score < 1 for score in scores) and len(set(scores)) > 20


def test_training_words_that_do_not_fit_are_refused(in_folder: Path, info) -> None:
    with pytest.raises(ConfigError, match="add data=pairs"):
        improved(info, 'train=["data=key_value"]')
    with pytest.raises(ConfigError, match=r"model.tokenizer.*name it in both"):
        improved(info, 'train=["data=pairs"]')


def test_the_same_part_twice_at_once_is_refused(in_folder: Path) -> None:
    works = [Work(in_folder / "w", ["a"], {"x": 1}, 0, 1) for _ in range(2)]
    with (
        works[0].keeping(),
        pytest.raises(ConfigError, match="another process appends"),
        works[1].keeping(),
    ):
        pass


TRAINING = [
    "data=pairs", "model=symbols", "objective=dpo", "sharding=none", "tracking=none", "probe=none",
    "data.context_range=[16,200]", "batch_size=8", "max_steps=1", "max_tokens=512",
    "precision=fp32",
]  # fmt: skip


def test_a_second_round_samples_with_what_the_first_has_trained(in_folder: Path, info) -> None:
    """DPO's first loss is log 2 where references are of the weights that training starts from."""
    words = ["rounds=2", f"train={json.dumps(TRAINING)}", "prompts.number=48"]
    improved(info, *words)
    rounds = [in_folder / f"outputs/improve/sealong/round_{i}" for i in (1, 2)]
    for folder in rounds:
        (line,) = (folder / "train" / "metrics.jsonl").read_text().splitlines()
        assert json.loads(line)["loss"] == pytest.approx(0.693147, abs=1e-5)
    settings = [
        json.loads((r / "outputs" / "manifest.json").read_text())["settings"] for r in rounds
    ]
    assert settings[0]["weights"] != settings[1]["weights"]
    ids = [{each["id"] for each in pairs(folder)} for folder in rounds]
    assert not ids[0] & ids[1], "each round has prompts of its own"
    improved(info, *words)  # finished: neither sampled nor trained again
    words[1] = f"train={json.dumps([*TRAINING, 'schedule.peak=0.5'])}"
    with pytest.raises(ConfigError, match=r"schedule.peak: .* there, 0.5 here"):
        improved(info, *words)


def test_a_training_is_of_the_pairs_that_it_was_begun_on(in_folder: Path) -> None:
    place, train = Path("round_1"), Path("round_1/train")
    (place / "pairs").mkdir(parents=True)
    train.mkdir()
    stage.finish(place / "pairs", {"selector": "mbr"}, [], pairs=1)
    verb._refuse_other_pairs(place, train)
    (train / "status.json").write_text("{}")
    verb._refuse_other_pairs(place, train)
    stage.finish(place / "pairs", {"selector": "random"}, [], pairs=1)
    with pytest.raises(ConfigError, match="was trained on other pairs"):
        verb._refuse_other_pairs(place, train)
