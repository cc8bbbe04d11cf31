"""What a run needs, looked for before torch is imported or a byte is downloaded or allocated."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from fullcontext import launch
from fullcontext.compose import ConfigError
from fullcontext.config import LARGE, ModelConfig, Quantize, Strategy, TrainConfig
from fullcontext.data import manifest, reader
from fullcontext.model import hub
from fullcontext.plan import costs, memory
from fullcontext.plan.memory import Place
from fullcontext.plan.work import Load

GIB = 1 << 30
BYTES_PER_PARAMETER = 16
"""fp32 weights, gradients and two moments of AdamW."""
ASSUMED_CPU_FLOPS = 2e11
"""A desktop CPU's bf16 or fp32 matrix products; only to say how hopeless a 7B model is there."""


def check(config: TrainConfig, folder: Path) -> None:
    """Raises ConfigError with everything that is missing, and what helps."""
    faults = [
        *_weights(config.model, config.init),
        *_data(config),
        *_memory(config),
        *_gpu(config),
        *_sharding(config),
        *_attention(config),
        *_adapter(config),
        *_disk(config, folder),
    ]
    if faults:
        listed = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(
            f"this machine cannot run model={config.model.name} data={config.data.name} as it is:\n"
            f"{listed}\nOn a laptop try: make demo, or make miniature"
        )


def _weights(model: ModelConfig, init: str | None) -> list[str]:
    if init is not None and not Path(init).exists():
        return [
            f"weights: init={init!r} does not exist; name a run folder or an export (that of"
            " experiments=miniature is made by experiments=miniature_base)"
        ]
    if model.path is None:
        return []
    folder = Path(model.path).expanduser()
    if folder.is_dir():
        if any(folder.glob("*.safetensors")):
            return []
        return [f"weights: {folder} holds no *.safetensors; save the model with safetensors"]
    if hub.is_cached(model.path) or hub.answers():
        return []
    return [
        f"weights: {model.path} is neither a local folder nor in the Hugging Face cache, and the"
        " hub does not answer; download it elsewhere (hf download "
        f"{model.path}) and set model.path=FOLDER model.tokenizer=FOLDER"
    ]


def _data(config: TrainConfig) -> list[str]:
    if not config.data.needs_store or manifest.read(manifest.store_path(config)) is not None:
        return []
    return [f"data: {reader.missing(config)}"]


def needed_bytes(config: TrainConfig) -> float:
    """Of one process at the worst moment of a step with full micro-batches (plan/memory.py)."""
    here = launch.place()
    where = Place(here.size, here.local_size, "cuda" if _has_gpu() else "cpu")
    return memory.peak(config, [[fullest(config)]] * 2, where).total


def fullest(config: TrainConfig) -> Load:
    """A micro-batch as large as may be: the longest contexts, each with its questions."""
    longest = max(stage.context_range[1] for stage in config.data.all_stages)
    tokens = min(config.row_tokens, longest * config.batch_size)
    number = max(1, tokens // longest)
    asked = config.plan.question_tokens + config.plan.answer_tokens
    labels = config.plan.answer_tokens * config.data.questions_per_context * number
    masked = asked * config.data.questions_per_context * tokens
    squares = tokens * min(tokens, longest)
    return Load(tokens, 2 * tokens, masked, squares, squares // 2, labels, 2 * number)


def _memory(config: TrainConfig) -> list[str]:
    processes = launch.place().local_size
    needed, there = needed_bytes(config) * processes, available_bytes()
    if _has_gpu() or needed <= there:
        return []
    parameters = config.model.architecture.num_parameters
    together = f" by {processes} processes together" if processes > 1 else ""
    return [
        f"memory: about {needed / GIB:.1f} GiB are needed{together} ({parameters / 1e9:.3g}G"
        f" parameters at {BYTES_PER_PARAMETER} bytes, activations of {config.max_tokens:,} tokens,"
        f" and a copy of the state while a checkpoint is written), {there / GIB:.1f} GiB are free;"
        " choose a smaller model, lower max_tokens, or set checkpoint.asynchronous=false"
    ]


def available_bytes() -> float:
    """Main memory that a new process may take, container limits counted."""
    free = float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = float(line.split()[1]) * 1024
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        free = min(free, float(text))
    return free


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _gpu(config: TrainConfig) -> list[str]:
    parameters = config.model.architecture.num_parameters
    if parameters < LARGE or _has_gpu():
        return []
    tokens = config.batch_size * sum(config.data.context_range) / 2
    hours = 6 * parameters * tokens / ASSUMED_CPU_FLOPS / 3600
    return [
        f"GPU: none is visible; one step of {tokens:,.0f} tokens would take about {hours:,.0f}"
        f" hours on a CPU (at an assumed {ASSUMED_CPU_FLOPS / 1e9:.0f} GFLOP/s); run it on a GPU"
        " machine"
    ]


def _sharding(config: TrainConfig) -> list[str]:
    here, sharding = launch.place(), config.sharding
    name, size = sharding.strategy.value, here.size
    if sharding.strategy is Strategy.none:
        if size == 1:
            return []
        return [
            f"processes: {size} were started, and sharding=none trains in one; choose"
            " sharding=full_shard, hybrid or ddp, or start one"
        ]
    if here.is_alone:
        return [
            f"processes: sharding={name} spreads the model over several, and one was started; start"
            " N of them with torchrun --nproc-per-node N train.py ..., or choose sharding=none for"
            " a model that fits one process"
        ]
    faults = []
    if size % sharding.context_parallel:
        faults.append(
            f"processes: {size} do not divide into groups of"
            f" sharding.context_parallel={sharding.context_parallel}, which share rows; start a"
            " multiple of it"
        )
    group = sharding.shard_size or here.local_size
    if sharding.strategy is Strategy.hybrid and size % group:
        faults.append(
            f"processes: {size} do not divide into groups of sharding.shard_size={group}, which"
            " share one copy of the model; start a multiple of it"
        )
    return faults


def _attention(config: TrainConfig) -> list[str]:
    backend = config.attention.backend
    if backend == "flash" and find_spec("flash_attn") is None:
        return [
            "attention: flash needs the package flash-attn, which is not installed; on a machine"
            " with a GPU: pip install 'fullcontext[gpu]' --no-build-isolation; else choose"
            " attention=blocks"
        ]
    if backend != "blocks" and not _has_gpu():
        return [
            f"attention: {backend} needs a GPU, and none is visible (flex_attention has no backward"
            " pass on a CPU, flash-attn does not run there); choose attention=blocks, which is"
            " exact anywhere"
        ]
    return []


def _adapter(config: TrainConfig) -> list[str]:
    wanted = {"peft": config.adapter.is_on}
    wanted["bitsandbytes"] = config.adapter.quantize is not Quantize.none
    lacking = [name for name, is_asked in wanted.items() if is_asked and find_spec(name) is None]
    if not lacking:
        return []
    return [
        f"adapter: {' and '.join(lacking)} not installed; pip install 'fullcontext[adapters]', or"
        " choose adapter=none"
    ]


def _disk(config: TrainConfig, folder: Path) -> list[str]:
    place = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(place).free
    planned = costs.storage(config)
    number, needed = planned.number, planned.total
    if needed <= free:
        return []
    return [
        f"disk: {number} checkpoints and the export need {needed / GIB:.1f} GiB, {place} has"
        f" {free / GIB:.1f} GiB free; lower checkpoint.keep, raise checkpoint.keep_every or set"
        " hydra.run.dir=FOLDER on a larger disk"
    ]
