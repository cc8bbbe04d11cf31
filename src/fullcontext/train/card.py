"""The model card of an export: how the model was made, in the run's own figures."""

from collections.abc import Mapping
from typing import Any

from fullcontext import __version__
from fullcontext.config import AdapterConfig, Precision, Quantize, TrainConfig

_MEASURES = ("avg", "litm", "gap", "worst", "n")
"""Of a probe, as report.statistics.summary names them."""


def model_card(
    config: TrainConfig,
    name: str,
    report: Mapping[str, Any],
    loss: float | None,
    scores: Mapping[str, float],
) -> str:
    """README.md of the export folder, with the front matter that the hub reads.

    `report` is data.json of the run, `scores` its last probes (probe/<task>/<measure>).
    """
    base = config.init or config.model.path
    header = ["---", "library_name: transformers", "tags: [fullcontext, long-context]"]
    if base and not config.init:
        header.append(f"base_model: {base}")
    low, high = config.data.context_range
    lines = [
        *header,
        "---",
        "",
        f"# {name}",
        "",
        f"{config.model.name} ({base or 'random initial weights'}), trained by fullcontext"
        f" {__version__} on {config.data.name}: {config.steps:,} steps of {config.batch_size}"
        f" examples, contexts of {low:,} to {high:,} tokens, loss on answers alone.",
        "" if loss is None else f"Loss of the last step: {loss:.4f}.",
        "",
        *_recipe(config),
        "",
        *_data(report),
        *_scores(scores),
        "",
    ]
    return "\n".join(lines)


def _recipe(config: TrainConfig) -> list[str]:
    data, schedule, optimizer = config.data, config.schedule, config.optimizer
    settings = {
        "objective": f"{config.objective.name}, mean by {config.objective.normalise.value}",
        "evidence placed by": data.placement.value,
        "context lengths": data.length.value,
        "segments of at least": f"{data.segment_size} tokens",
        "questions per context": data.questions_per_context,
        "peak learning rate": f"{schedule.peak:g}, {schedule.decay.value}, warm-up of"
        f" {schedule.warmup_ratio:.0%}",
        "AdamW": f"betas {optimizer.beta1:g} and {optimizer.beta2:g}, weight decay"
        f" {optimizer.weight_decay:g}, gradients clipped at {optimizer.clip_norm:g}",
        **_adapter(config.adapter),
        "rope theta": config.positions.rope_theta or "the model's own",
        "training precision": "fp32"
        if config.precision is Precision.fp32
        else "bf16 products, fp32 weights",
        "weights in this folder": config.checkpoint.export_dtype.value,
        "seed": config.seed,
    }
    return [
        "| recipe | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in settings.items()),
    ]


def _adapter(settings: AdapterConfig) -> dict[str, str]:
    if not settings.is_on:
        return {}
    bits = ", the others of the layers in four bits" * (settings.quantize is Quantize.nf4)
    return {
        "trained": f"adapters of rank {settings.rank}, alpha {settings.alpha:g}, on"
        f" {', '.join(settings.targets)}{bits}; merged into the weights here, and in adapter/"
    }


def _data(report: Mapping[str, Any]) -> list[str]:
    lines = [
        "| source | share asked | examples | tokens | supervised tokens |",
        "|---|---|---|---|---|",
    ]
    for kind, source in report["sources"].items():
        lines.append(
            f"| {kind} | {source['ratio_requested']:.0%} | {source['examples']:,} |"
            f" {source['tokens']:,} | {source['supervised_tokens']:,} |"
        )
    left_out = {reason: count for reason, count in report.get("dropped", {}).items() if count}
    if left_out:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in left_out.items())
        lines += ["", f"Left out or cut: {counts}."]
    return lines


def _scores(scores: Mapping[str, float]) -> list[str]:
    tasks = sorted({key.split("/")[1] for key in scores if key.startswith("probe/")})
    if not tasks:
        return []
    lines = ["", f"| probe | {' | '.join(_MEASURES)} |", "|---|" + "--:|" * len(_MEASURES)]
    for task in tasks:
        found = [scores.get(f"probe/{task}/{measure}") for measure in _MEASURES]
        cells = ["" if value is None else f"{value:.4g}" for value in found]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return [*lines, "", "litm is the mean of both ends minus that of the middle."]
