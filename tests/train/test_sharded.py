"""Checkpoints and exports of a model that is spread over ranks, on real gloo processes."""

import json
import resource
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from fullcontext.model import load, tokenizer
from fullcontext.train import checkpoint, export
from fullcontext.train.peers import PeerError, Peers
from tests.ranks import together
from tests.train.test_checkpoint import Tied, content, names, trained, written

STEP = 3


def spread(model: nn.Module, mesh: str = "shard") -> nn.Module:
    """Sharded over all ranks, or over half of them twice."""
    size = dist.get_world_size()
    if mesh == "hybrid":
        places = init_device_mesh("cpu", (2, size // 2), mesh_dim_names=("replicate", "shard"))
    else:
        places = init_device_mesh("cpu", (size,))
    fully_shard(model, mesh=places)
    return model


def whole(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, bytes]:
    """As `content`, gathered from all ranks."""

    def read(tensor: torch.Tensor) -> bytes:
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return full.detach().numpy().tobytes()

    found = {name: read(p) for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        found |= {f"{name} {key}": read(m) for key, m in optimizer.state[p].items()}
    return found


def sharded(mesh: str = "shard", seed: int = 1) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = spread(Tied(), mesh)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def load_on_all(world: object, folder: Path, mesh: str) -> None:
    """Loads what one process wrote, compares it, and writes it again."""
    peers = Peers.found()
    assert peers.size == dist.get_world_size()
    model, optimizer = sharded(mesh)
    assert isinstance(model.layer.weight, DTensor)
    found = checkpoint.newest(folder / "one", peers=peers)
    assert found is not None
    checkpoint.load(found, model, optimizer)
    assert whole(model, optimizer) == content(*trained(STEP))
    assert model.head.weight is model.embed.weight
    state = checkpoint.state(model, optimizer)
    checkpoint.write(folder / f"{mesh}{peers.size}", STEP, state, "{}", peers)


@pytest.mark.parametrize(("size", "mesh"), [(2, "shard"), (4, "shard"), (4, "hybrid")])
def test_one_rank_and_many_read_each_others_checkpoints_bit_for_bit(
    tmp_path: Path, size: int, mesh: str
) -> None:
    written(tmp_path / "one", STEP)
    together(size, load_on_all, tmp_path, mesh)
    model, optimizer = trained(1, seed=2)
    folder = checkpoint.newest(tmp_path / f"{mesh}{size}")
    assert folder is not None
    assert len(list(folder.glob("__*.distcp"))) > 1
    checkpoint.load(folder, model, optimizer)
    assert content(model, optimizer) == content(*trained(STEP))


def go_on(world: object, folder: Path) -> None:
    """Loads on four ranks what two have written."""
    model, optimizer = sharded()
    found = checkpoint.newest(folder / "shard2", peers=Peers.found())
    assert found is not None
    checkpoint.load(found, model, optimizer)
    assert whole(model, optimizer) == content(*trained(STEP))


def test_four_ranks_read_what_two_have_written(tmp_path: Path) -> None:
    written(tmp_path / "one", STEP)
    together(2, load_on_all, tmp_path, "shard")
    together(4, go_on, tmp_path)


def one_cannot_write(world: object, folder: Path) -> None:
    """Rank 1 is not allowed files of more than 100 bytes; then it is."""
    peers = Peers.found()
    model, optimizer = sharded()
    state = checkpoint.state(model, optimizer)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if peers.rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    with pytest.raises(PeerError, match=r"^rank 1: .*__1_0\.distcp: File too large"):
        checkpoint.write(folder, 1, state, "{}", peers)
    assert not checkpoint.place(folder, 1).exists()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    checkpoint.write(folder, 2, state, "{}", peers)


def test_a_rank_that_cannot_write_is_named_on_all_and_the_next_checkpoint_is_whole(
    tmp_path: Path,
) -> None:
    together(2, one_cannot_write, tmp_path)
    assert names(tmp_path) == ["step_000002"]
    assert checkpoint.newest(tmp_path) == checkpoint.place(tmp_path, 2)


def find_damage(world: object, folder: Path) -> None:
    """Every rank hashes a share of the files; all have to come to the same answer."""
    assert checkpoint.newest(folder, peers=Peers.found()) == checkpoint.place(folder, 1)


def test_damage_that_one_rank_sees_is_known_to_all(tmp_path: Path) -> None:
    written(tmp_path, 1, 2)
    (checkpoint.place(tmp_path, 2) / "extra.json").write_text("{ }")
    together(2, find_damage, tmp_path)


def export_sharded(world: object, folder: Path, dtype: str) -> None:
    """Exports a sharded model."""
    from fullcontext.compose import compose_verb
    from fullcontext.config import Precision

    config = compose_verb("train", ["model=symbols", "data=key_value_symbols", "sharding=none"])
    config.model.architecture.tie_embeddings = True
    model = load.load(config.model, config.positions)
    peers = Peers.found()
    if peers.size > 1:
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(model)
    words = tokenizer.load(config.model)
    export.write(folder, model, words, "card", Precision(dtype), peers)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_an_export_is_the_same_from_one_rank_and_from_two(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "two").mkdir()
    export_sharded(None, tmp_path / "one", dtype)
    together(2, export_sharded, tmp_path / "two", dtype)
    one, two = (tmp_path / name / "export" for name in ("one", "two"))
    assert {file.name for file in one.iterdir()} == {file.name for file in two.iterdir()}
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes(), file.name
    assert json.loads((one / "config.json").read_text())["architectures"] == ["MistralForCausalLM"]
