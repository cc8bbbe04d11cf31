"""Training goes on while a checkpoint is written, which is of the moment of saving."""

import threading
from pathlib import Path

import pytest
import torch

from fullcontext.compose import ConfigError
from fullcontext.train import checkpoint
from fullcontext.train.saving import Saver
from tests.train.test_checkpoint import content, names, trained

WORDS = ["data=key_value_symbols", "model=symbols", "sharding=none"]


@pytest.fixture
def saver(train_config, tmp_path: Path) -> Saver:
    return Saver(tmp_path, train_config(*WORDS))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Holds every write until it is set."""
    event, write = threading.Event(), checkpoint.write

    def held(*args: object) -> Path:
        assert event.wait(20)
        return write(*args)

    monkeypatch.setattr(checkpoint, "write", held)
    return event


def test_steps_taken_while_it_is_written_are_not_in_it(
    saver: Saver, gate: threading.Event, tmp_path: Path
) -> None:
    model, optimizer = trained(3)
    then = content(model, optimizer)
    counters = {"progress": {"step": 3}}
    saver.save(3, model, optimizer, counters)
    assert saver.saved == -1
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
            optimizer.state[p]["exp_avg"] += 1
            optimizer.state[p]["step"] += 1
    counters["progress"]["step"] = 4
    gate.set()
    saver.close()
    assert saver.saved == 3
    other, fresh = trained(1, seed=1)
    extra = Saver(tmp_path, saver.config).restore(other, fresh)
    assert extra == {"step": 3, "progress": {"step": 3}}
    assert content(other, fresh) == then


def test_one_is_written_at_a_time(saver: Saver, gate: threading.Event) -> None:
    model, optimizer = trained()
    saver.save(1, model, optimizer, {})
    second = threading.Thread(target=saver.save, args=(2, model, optimizer, {}))
    second.start()
    second.join(0.2)
    assert second.is_alive() and saver.saved == -1
    gate.set()
    second.join(20)
    assert saver.saved >= 1
    saver.wait()
    assert saver.saved == 2


def test_a_step_is_not_written_twice(saver: Saver, tmp_path: Path) -> None:
    model, optimizer = trained()
    saver.save(1, model, optimizer, {})
    saver.wait()
    at = (checkpoint.place(tmp_path, 1) / "manifest.json").stat().st_mtime_ns
    saver.save(1, model, optimizer, {})
    saver.wait()
    assert (checkpoint.place(tmp_path, 1) / "manifest.json").stat().st_mtime_ns == at


def test_a_write_that_fails_is_a_warning_and_the_next_one_works(
    saver: Saver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, optimizer = trained()
    saver.save(1, model, optimizer, {})
    saver.wait()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_ROOM", 1 << 62)
        saver.save(2, model, optimizer, {})
        saver.wait()
    assert "the checkpoint of step 2 could not be written" in caplog.text
    assert "are free on the disk); training goes on, the newest checkpoint is step_000001" in (
        caplog.text
    )
    saver.save(3, model, optimizer, {})
    saver.close()
    assert names(tmp_path) == ["step_000001", "step_000003"]
    assert "checkpoints that could not be written: steps 2 (the last: " in caplog.text


def test_without_threads_it_is_written_when_save_returns(train_config, tmp_path: Path) -> None:
    saver = Saver(tmp_path, train_config(*WORDS, "checkpoint.asynchronous=false"))
    saver.save(5, *trained(), {})
    assert saver.saved == 5 and names(tmp_path) == ["step_000005"]


def test_of_many_the_newest_and_every_tenth_stay(train_config, tmp_path: Path) -> None:
    words = ["checkpoint.every_steps=5", "checkpoint.keep=1", "checkpoint.keep_every=10"]
    saver = Saver(tmp_path, train_config(*WORDS, *words))
    model, optimizer = trained()
    for step in (5, 10, 15, 20, 25):
        saver.save(step, model, optimizer, {})
    saver.close()
    assert names(tmp_path) == ["step_000010", "step_000020", "step_000025"]


def test_keep_every_between_two_checkpoints_is_refused(train_config) -> None:
    with pytest.raises(ConfigError, match=r"keep_every=15 .* not a multiple .* set it to 20"):
        train_config(*WORDS, "checkpoint.every_steps=10", "checkpoint.keep_every=15")


def test_damaged_ones_get_another_name_so_that_they_are_not_counted_as_kept(
    saver: Saver, tmp_path: Path
) -> None:
    model, optimizer = trained()
    for step in (1, 2):
        saver.save(step, model, optimizer, {})
    saver.close()
    (checkpoint.place(tmp_path, 2) / "extra.json").unlink()
    again = Saver(tmp_path, saver.config)
    again.restore(model, optimizer)
    assert again.saved == 1
    assert names(tmp_path) == ["damaged_step_000002", "step_000001"]


def test_settings_on_which_the_weights_depend_have_to_be_the_same(
    saver: Saver, train_config, tmp_path: Path
) -> None:
    model, optimizer = trained()
    saver.save(1, model, optimizer, {})
    saver.close()
    freely = ["checkpoint.keep=7", "threads=3", "sharding.strategy=full_shard", "log_every=2"]
    assert Saver(tmp_path, train_config(*WORDS, *freely)).restore(model, optimizer) is not None
    other = Saver(tmp_path, train_config(*WORDS, "seed=5", "batch_size=3"))
    with pytest.raises(ConfigError, match=r"\(batch_size: 128 there, 3 here; seed: 0 there, 5 he"):
        other.restore(model, optimizer)
