"""What a run needs before its first step: data, probes, model; and what they have to fit."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fullcontext.compose import ConfigError
from fullcontext.config import Precision, Quantize, Strategy, TrainConfig
from fullcontext.data import manifest, reader
from fullcontext.data.mixture import Mixture
from fullcontext.data.packing import plan
from fullcontext.data.pairs import Pairs
from fullcontext.data.tokens import Prompt
from fullcontext.launch import World
from fullcontext.model import load, lora, sharding
from fullcontext.plan import weights
from fullcontext.train import checkpoint
from fullcontext.train.peers import Peers

if TYPE_CHECKING:
    from fullcontext.probe.contexts import ProbeContext


def headline(config: TrainConfig, world: World) -> str:
    """What is trained, in one line."""
    return (
        f"{config.steps:,} steps of {config.batch_size} examples, model {config.model.name}"
        f" ({config.model.architecture.num_parameters / 1e6:,.1f}M parameters{_beside(config)}) on"
        f" {world.device.type} in {config.precision.value}{_layout(config, world)}"
    )


def _beside(config: TrainConfig) -> str:
    if not config.adapter.is_on:
        return ""
    trained = weights.weights(config).trained
    bits = ", the others of the layers in four bits" * (config.adapter.quantize is Quantize.nf4)
    return f", {trained / 1e6:,.2f}M of adapters trained{bits}"


def _layout(config: TrainConfig, world: World) -> str:
    settings = config.sharding
    if settings.strategy is Strategy.none:
        return ""
    pieces = settings.context_parallel
    cut = f", rows cut in {pieces}" if pieces > 1 else ""
    return f", {settings.strategy.value} over {world.size} ranks{cut}"


def mixture(config: TrainConfig, prompt: Prompt) -> Mixture:
    """The data of a run.

    Raises ConfigError if its first or last examples are too long for a row, or have words that the
    tokenizer does not know: a vocabulary of symbols would train on "unknown" without a word.
    """
    store = None
    if config.data.needs_store:
        store = reader.open_store(config, manifest.tokenizer_hash(prompt.encoder))
    pairs = None
    if "pair" in config.data.kinds and config.data.pairs is not None:
        pairs = Pairs(Path(config.data.pairs), prompt)
    made = Mixture(config.data, prompt, store, config.seed, config.batch_size, pairs)
    unknown = prompt.encoder.tokenizer.unk_token_id
    for example in made.batch(0) + made.batch(config.steps - 1):
        if example.tokens > config.row_tokens:
            plan([example], config.row_tokens)
        if any(unknown in ids for asked in example.asked for ids in (asked.prompt, asked.answer)):
            raise ConfigError(
                f"the tokenizer {config.model.tokenizer} does not know the words of"
                f" data={config.data.name}; choose data that fits it (model=symbols:"
                " data=key_value_symbols with at most model.symbols keys and values)"
            )
    return made


def probe_contexts(config: TrainConfig, prompt: Prompt) -> "dict[str, list[ProbeContext]]":
    """Built before the first step: what cannot be asked is refused before training."""
    if not config.probe.tasks:
        return {}
    from fullcontext.probe import contexts

    positions = config.model.architecture.max_positions
    asked = contexts.build(prompt, config.data, config.probe, config.seed, positions)
    contexts.within(asked, config.probe.budget_tokens)
    return asked


def model(config: TrainConfig, world: World, peers: Peers, words: int) -> Any:
    """The model to train, sharded, with the weights of `config.init`.

    Raises ConfigError if it does not embed as many `words` as the tokenizer has.
    """
    init = Path(config.init) if config.init else None
    exported = init and next((p for p in (init / "export", init) if is_export(p)), None)
    made = load.load(
        config.model, config.positions, config.seed, exported or None, config.attention.backend
    )
    embedded = made.get_input_embeddings().num_embeddings
    if words > embedded:
        raise ConfigError(
            f"the tokenizer {config.model.tokenizer} has {words} tokens, the model"
            f" {config.model.name} embeds {embedded}; choose matching ones"
        )
    if config.adapter.is_on:
        if init and not exported:
            raise ConfigError(
                f"init={config.init!r} holds a checkpoint and no export, and adapters begin from"
                " whole weights; end that run, or export it, first"
            )
        attach(made, config, world.device)
    sharding.recompute(made, config.checkpointing)
    made = sharding.shard(made.train(), config.sharding, config.precision, world)
    if init and not exported:
        checkpoint.load_weights(made, init, peers=peers)
    return made


def attach(model: Any, config: TrainConfig, device: torch.device | str) -> None:
    """Gives a model the adapters of a run, as they are before its first step."""
    compute = torch.float32 if config.precision is Precision.fp32 else torch.bfloat16
    lora.attach(model, config.adapter, config.seed, compute, device)


def is_export(folder: Path) -> bool:
    """Whether a folder holds a model that transformers reads."""
    return (folder / "config.json").exists() and any(folder.glob("*.safetensors"))
