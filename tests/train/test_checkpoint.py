"""A checkpoint is whole or it is not there, and comes back bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fullcontext.compose import ConfigError
from fullcontext.train import checkpoint
from fullcontext.train.peers import PeerError


class Tied(nn.Module):
    """An embedding that is the head, too, and a layer between."""

    def __init__(self, words: int = 11, width: int = 6) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.layer = nn.Linear(width, width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embed(ids)))


def trained(steps: int = 3, seed: int = 0) -> tuple[Tied, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        model(torch.arange(8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model, optimizer


def content(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, bytes]:
    """Everything that a checkpoint has to bring back, as bytes."""
    found = {name: p.detach().numpy().tobytes() for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        for key, moment in optimizer.state[p].items():
            found[f"{name} {key}"] = moment.numpy().tobytes()
    return found


def written(run: Path, *steps: int) -> None:
    for step in steps:
        model, optimizer = trained(step)
        checkpoint.write(run, step, checkpoint.state(model, optimizer), json.dumps({"at": step}))


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_weights_and_moments_come_back_bit_for_bit(tmp_path: Path) -> None:
    written(tmp_path, 3)
    model, optimizer = trained(1, seed=1)
    assert content(model, optimizer) != content(*trained(3))
    folder = checkpoint.newest(tmp_path)
    assert folder is not None
    checkpoint.load(folder, model, optimizer)
    assert content(model, optimizer) == content(*trained(3))
    assert model.head.weight is model.embed.weight
    assert checkpoint.extra(folder) == {"at": 3}


def test_an_optimizer_without_steps_gets_no_state_by_being_saved_or_restored(
    tmp_path: Path,
) -> None:
    model, optimizer = trained(0)
    folder = checkpoint.write(tmp_path, 0, checkpoint.state(model, optimizer), "{}")
    assert not optimizer.state
    other, fresh = trained(0, seed=1)
    checkpoint.load(folder, other, fresh)
    assert not fresh.state
    assert torch.equal(other.layer.weight, model.layer.weight)


def test_tied_weights_stand_once(tmp_path: Path) -> None:
    assert set(checkpoint.state(*trained())["model"]) == {
        "embed.weight", "layer.weight", "layer.bias",
    }  # fmt: skip


def test_any_damage_to_any_file_is_named_and_the_one_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, 1, 2)
    before, newest = (checkpoint.place(tmp_path, step) for step in (1, 2))
    files = sorted(path for path in newest.iterdir())
    assert [path.name for path in files] == [
        ".metadata", "__0_0.distcp", "extra.json", "manifest.json",
    ]  # fmt: skip
    for file in files:
        whole = file.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for broken in (whole[:-1], whole[:middle], b"", flipped):
            file.write_bytes(broken)
            caplog.clear()
            assert checkpoint.newest(tmp_path) == before
            assert f"{newest} is damaged" in caplog.text
            assert file.name in caplog.text or (file.name == "manifest.json" and broken == flipped)
        file.unlink()
        assert checkpoint.newest(tmp_path) == before
        file.write_bytes(whole)
    assert checkpoint.newest(tmp_path) == newest


def test_weights_of_another_shape_are_refused_with_both_shapes(tmp_path: Path) -> None:
    written(tmp_path, 1)
    model = Tied(words=12)
    optimizer = torch.optim.AdamW(model.parameters())
    for load in (
        lambda: checkpoint.load(checkpoint.place(tmp_path, 1), model, optimizer),
        lambda: checkpoint.load_weights(model, tmp_path),
    ):
        with pytest.raises(ConfigError) as error:
            load()
        text = r"embed.weight has shape (11, 6) there and has shape (12, 6) here"
        assert text in str(error.value)


def test_a_weight_that_is_absent_is_named(tmp_path: Path) -> None:
    written(tmp_path, 1)
    with pytest.raises(ConfigError, match=r"0\.weight is absent there and has shape \(6, 6\) here"):
        checkpoint.load_weights(nn.Sequential(nn.Linear(6, 6)), tmp_path)


def test_the_newest_is_the_largest_step_not_the_last_name(tmp_path: Path) -> None:
    written(tmp_path, 1)
    checkpoint.place(tmp_path, 1).rename(checkpoint.place(tmp_path, 1_000_000))
    written(tmp_path, 2)
    assert checkpoint.newest(tmp_path) == checkpoint.place(tmp_path, 1_000_000)


@given(
    steps=st.sets(st.integers(1, 40), min_size=1, max_size=6),
    keep=st.integers(1, 3),
    keep_every=st.none() | st.integers(1, 10),
)
def test_the_newest_stay_and_those_that_keep_every_divides(
    tmp_path_factory: pytest.TempPathFactory, steps: set[int], keep: int, keep_every: int | None
) -> None:
    run = tmp_path_factory.mktemp("run")
    for step in steps:
        checkpoint.place(run, step).mkdir(parents=True)
    checkpoint.prune(run, keep, keep_every)
    stay = set(sorted(steps)[-keep:])
    stay |= {step for step in steps if keep_every is not None and step % keep_every == 0}
    assert names(run) == [checkpoint.place(run, step).name for step in sorted(stay)]


def test_what_a_kill_left_is_swept_up_and_checkpoints_are_not(tmp_path: Path) -> None:
    written(tmp_path, 1)
    for rest in (".step_000002.aside", ".step_000001.old"):
        (tmp_path / "checkpoints" / rest).mkdir()
    checkpoint.sweep(tmp_path)
    assert names(tmp_path) == ["step_000001"]


def test_without_room_for_all_of_it_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 1)
    usage = type("Usage", (), {"free": 2_000})
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: usage)
    # 11 x 6 + 6 x 6 + 6 = 108 weights of 4 bytes, two moments each, and three step counters
    with pytest.raises(PeerError, match=r"1,308 bytes are needed, 2,000 are free on the disk"):
        written(tmp_path, 2)
    assert names(tmp_path) == ["step_000001"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_runs_full_leaves_the_checkpoint_before(small_disk: Path) -> None:
    written(small_disk, 1)
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    ballast.write_bytes(bytes(free - 4096))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_ROOM", -(1 << 20))  # it was there when the writing began
        with pytest.raises(PeerError, match=r"step_000002\.aside/.*: No space left on device"):
            written(small_disk, 2)
    assert names(small_disk) == ["step_000001"]
    assert checkpoint.newest(small_disk) == checkpoint.place(small_disk, 1)
    ballast.unlink()
    written(small_disk, 2)
    assert checkpoint.newest(small_disk) == checkpoint.place(small_disk, 2)


WRITER = """
    import sys, resource
    from pathlib import Path
    import torch
    from fullcontext.train import checkpoint

    run, limit = Path(sys.argv[1]), int(sys.argv[2])
    model = torch.nn.Linear(500, 500)
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(1, 1000):
        with torch.no_grad():
            model.weight.fill_(step)
        checkpoint.write(run, step, checkpoint.state(model, optimizer), "{}")
        checkpoint.prune(run, 2, None)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
"""


def writer(run: Path, limit: int = 0) -> subprocess.Popen[bytes]:
    script = [sys.executable, "-c", textwrap.dedent(WRITER), str(run), str(limit)]
    return subprocess.Popen(script, stderr=subprocess.PIPE)


def test_a_write_that_fails_half_way_names_the_file(tmp_path: Path) -> None:
    process = writer(tmp_path, limit=500_000)
    _, said = process.communicate()
    assert process.returncode == 1
    assert b".step_000002.aside/__0_0.distcp: File too large" in said
    assert names(tmp_path) == ["step_000001"]


def test_killed_at_any_moment_the_newest_checkpoint_is_whole(tmp_path: Path) -> None:
    draw = random.Random(0)
    model = nn.Linear(500, 500)
    process = writer(tmp_path)
    try:
        while checkpoint.newest(tmp_path) is None:
            time.sleep(0.01)
        for _ in range(20):
            time.sleep(draw.random() * 0.05)
            process.send_signal(signal.SIGSTOP)  # what is on the disk now is what a kill leaves
            step = checkpoint.load_weights(model, tmp_path)
            assert step >= 1 and bool((model.weight == step).all())
            process.send_signal(signal.SIGCONT)
    finally:
        process.kill()
        process.communicate()
