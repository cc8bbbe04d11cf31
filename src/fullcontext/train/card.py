"""The model card of an export: how the model was made, in the run's own figures."""

from typing import Any

from fullcontext.config import TrainConfig


def model_card(config: TrainConfig, name: str, report: dict[str, Any], loss: float | None) -> str:
    """README.md of the export folder, with the front matter that the hub reads."""
    base = config.init or config.model.path
    header = ["---", "library_name: transformers", "tags: [fullcontext, long-context]"]
    if base and not config.init:
        header.append(f"base_model: {base}")
    rows = [
        f"| {kind} | {source['ratio_requested']:.0%} | {source['examples']:,} |"
        f" {source['tokens']:,} | {source['supervised_tokens']:,} |"
        for kind, source in report["sources"].items()
    ]
    low, high = config.data.context_range
    return "\n".join(
        [
            *header,
            "---",
            "",
            f"# {name}",
            "",
            f"{config.model.name} ({base or 'random initial weights'}), trained by fullcontext on"
            f" {config.data.name}: {config.steps:,} steps of {config.batch_size} examples, contexts"
            f" of {low:,} to {high:,} tokens, evidence placed by `{config.data.placement.value}`,"
            f" segments of at least {config.data.segment_size} tokens, peak learning rate"
            f" {config.schedule.peak:g} ({config.schedule.decay.value}), loss on answers alone.",
            "" if loss is None else f"Loss of the last step: {loss:.4f}.",
            "",
            "| source | share asked | examples | tokens | supervised tokens |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
