"""The verb, in process: what it leaves behind can be read by others."""

import json
from pathlib import Path

import pytest
import torch

from fullcontext.compose import ConfigError
from fullcontext.train.run import run

WORDS = [
    "data=key_value_symbols", "model=symbols", "sharding=none", "precision=fp32", "tracking=none",
    "batch_size=32", "data.questions_per_context=4", "schedule.peak=1e-3", "max_steps=6",
    "checkpoint.every_steps=2", "probe=key_value_symbols", "probe.contexts=3",
    "probe.every_steps=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory, train_config):
    from fullcontext.compose import RunInfo

    folder = tmp_path_factory.mktemp("runs") / "run"
    run(train_config(*WORDS), RunInfo(folder, {"experiments": "demo"}, WORDS))
    return folder


def test_the_run_folder_is_as_the_readme_draws_it(done: Path) -> None:
    there = {path.name for path in done.iterdir()}
    assert there >= {
        "config.yaml", "overrides.yaml", "commit.txt", "environment.txt", "status.json", "log.txt",
        "metrics.jsonl", "checkpoints", "answers", "data.json", "export", "id.txt",
    }  # fmt: skip
    assert sorted(p.name for p in (done / "checkpoints").iterdir()) == [
        "step_000004",
        "step_000006",
    ]
    assert sorted(p.name for p in (done / "answers").iterdir()) == [
        f"key_value_step{step:06d}.jsonl" for step in (0, 3, 6)
    ]
    status = json.loads((done / "status.json").read_text())
    assert (status["state"], status["step"], status["name"]) == ("finished", 6, "demo")


def test_data_json_holds_requested_and_realised(done: Path) -> None:
    report = json.loads((done / "data.json").read_text())
    source = report["sources"]["key_value"]
    assert source["examples"] == source["examples_requested"] == 192
    assert sum(report["depth"]["realised"]) == 192 == round(sum(report["depth"]["expected"]))


def test_anyone_can_load_the_export(done: Path, train_config) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from fullcontext.model import load
    from fullcontext.train import checkpoint

    plain = AutoModelForCausalLM.from_pretrained(done / "export").eval()
    words = AutoTokenizer.from_pretrained(done / "export")
    ids = torch.tensor([words("k1 v2\nk3 v4\n? k1")["input_ids"]])
    config = train_config(*WORDS)
    ours = load.load(config.model, config.positions).eval()
    assert checkpoint.load_weights(ours, done) == 6
    with torch.no_grad():
        assert torch.allclose(plain(ids).logits, ours(ids).logits, atol=1e-6)
    assert plain.config._attn_implementation == "sdpa"
    assert "key_value | 100% | 192" in (done / "export" / "README.md").read_text()


def test_a_finished_run_is_not_trained_again(done: Path, train_config, info) -> None:
    before = (done / "metrics.jsonl").read_bytes()
    run(train_config(*WORDS), info(done))
    assert (done / "metrics.jsonl").read_bytes() == before
    # A process that goes on is told no experiment, as with resume=; the run keeps its name.
    assert json.loads((done / "status.json").read_text())["name"] == "demo"


def test_training_goes_on_from_the_weights_of_another_run(
    done: Path, train_config, info, tmp_path: Path
) -> None:
    words = [*WORDS, "max_steps=1", f"init={done}", "probe.every_steps=1"]
    run(train_config(*words), info(tmp_path / "next"))
    last = (done / "answers" / "key_value_step000006.jsonl").read_text()
    first = (tmp_path / "next" / "answers" / "key_value_step000000.jsonl").read_text()
    assert first == last


def test_a_crash_is_written_into_the_status(
    train_config, info, tmp_path: Path, monkeypatch
) -> None:
    from fullcontext.train.loop import Loop

    def broken(*_: object) -> None:
        raise RuntimeError("out of everything\nsecond line")

    monkeypatch.setattr(Loop, "step", broken)
    with pytest.raises(RuntimeError):
        run(train_config(*WORDS, "probe.every_steps=0"), info(tmp_path / "run"))
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed" and status["error"] == "RuntimeError: out of everything"


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_run_and_is_reported_at_its_end(
    done: Path, train_config, info, tmp_path: Path, monkeypatch
) -> None:
    from fullcontext.train import checkpoint

    folder = tmp_path / "run"
    real, calls = checkpoint.write_state, []

    def full(*args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("__0_0.distcp: No space left on device")
        real(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "write_state", full)
    run(train_config(*WORDS, "probe.every_steps=0"), info(folder))
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == [
        "step_000002",
        "step_000006",
    ]
    said = (folder / "log.txt").read_text()
    assert "the checkpoint of step 4 could not be written (__0_0.distcp: No space left" in said
    assert "checkpoints that could not be written: steps 4" in said.splitlines()[-1]
    tensors = (folder / "export" / "model.safetensors").read_bytes()
    assert tensors == (done / "export" / "model.safetensors").read_bytes()


def test_an_export_that_fails_says_how_to_get_it_and_that_works(
    done: Path, train_config, info, tmp_path: Path, monkeypatch
) -> None:
    from fullcontext.train import export

    folder = tmp_path / "run"
    words = [*WORDS, "probe.every_steps=0"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "_write_file", full)
        with pytest.raises(ConfigError, match=r"No space left on device.* resume="):
            run(train_config(*words), info(folder))
    assert not (folder / "export").exists() and not (folder / ".export.aside").exists()
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    run(train_config(*words), info(folder))
    tensors = (folder / "export" / "model.safetensors").read_bytes()
    assert tensors == (done / "export" / "model.safetensors").read_bytes()
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"


def test_a_checkpoint_of_another_run_is_refused_with_the_differing_keys(
    done: Path, train_config, info, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(done / "checkpoints", folder / "checkpoints")
    words = [*WORDS, "schedule.peak=2e-3", "optimizer.beta2=0.9"]
    with pytest.raises(ConfigError) as error:
        run(train_config(*words), info(folder))
    text = "optimizer.beta2: 0.95 there, 0.9 here; schedule.peak: 0.001 there, 0.002 here"
    assert f"step_000006 was written by a run with other settings ({text})" in str(error.value)


def test_a_checkpoint_from_before_a_setting_was_there_has_its_default(
    done: Path, train_config, info, tmp_path: Path
) -> None:
    import shutil

    from fullcontext.train import checkpoint

    folder = tmp_path / "run"
    shutil.copytree(done / "checkpoints", folder / "checkpoints")
    path = folder / "checkpoints" / "step_000006"
    made = checkpoint.extra(path)
    for key in ("rank", "kind"):
        del made["config"]["adapter"][key]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "extra", lambda _: dict(made))
        run(train_config(*WORDS), info(folder))
    assert json.loads((folder / "status.json").read_text())["step"] == 6


def test_the_card_has_recipe_data_and_scores(done: Path) -> None:
    card = (done / "export" / "README.md").read_text()
    assert "| peak learning rate | 0.001, cosine, warm-up of 3% |" in card
    assert "| key_value | 100% | 192 |" in card
    assert "| probe | avg | litm | gap | worst | n |" in card
    last = json.loads((done / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"| key_value | {last['probe/key_value/avg']:.4g} |" in card


def test_two_processes_do_not_share_a_folder(train_config, info, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process is training in"):
            run(train_config(*WORDS), info(tmp_path))


def test_a_tokenizer_too_large_for_the_model_is_refused(train_config, info, tmp_path: Path) -> None:
    words = [*WORDS, "model.symbols={k: 100, v: 100}"]
    with pytest.raises(ConfigError, match=r"has 205 tokens, the model symbols embeds 56"):
        run(train_config(*words), info(tmp_path))


def test_words_the_tokenizer_does_not_know_are_refused(train_config, info, tmp_path: Path) -> None:
    words = [*WORDS, "data.key_value.num_keys=64", "data.context_range=[100,100]"]
    with pytest.raises(ConfigError, match="does not know the words of data=key_value_symbols"):
        run(train_config(*words), info(tmp_path))


def test_a_probe_that_cannot_be_asked_is_refused_before_the_first_step(
    train_config, info, tmp_path: Path
) -> None:
    words = [*WORDS, "probe=val", "probe.context_tokens=512", "probe.every_steps=0"]
    with pytest.raises(ConfigError, match=r"probe\.tasks: .* does not know the words"):
        run(train_config(*words), info(tmp_path))
    assert not (tmp_path / "metrics.jsonl").exists()
