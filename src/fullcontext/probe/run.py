"""The verb probe.py: asks a model at every position, or replays what another one said."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fullcontext import status as state
from fullcontext.compose import RunInfo, plain, write_yaml
from fullcontext.config import OpenAIAnswerer, ProbeRunConfig, ReplayConfig
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.probe import contexts, replay, score, source
from fullcontext.probe.asking import answers_file, ask, read_answers, scalars, write_answers
from fullcontext.probe.contexts import ProbeContext
from fullcontext.probe.partial import Partial
from fullcontext.probe.remote import Remote
from fullcontext.records import Answer
from fullcontext.store import alone, fingerprint

log = logging.getLogger("fullcontext")


def run(config: ProbeRunConfig, info: RunInfo) -> None:
    """The verb: probes `run`, `model` or an endpoint and leaves a folder that report.py reads.

    In a folder that already has answers, with the same settings (hydra.run.dir=FOLDER), only what
    has no answer yet is asked.
    """
    if isinstance(config.probe, ReplayConfig):
        _replay(config, config.probe, info.output_dir)
        return
    given = source.find(config, info)
    config, folder = given.config, info.output_dir
    positions = config.model.architecture.max_positions
    contexts.check(config.probe, positions)
    source.refuse_other_settings(config, folder)
    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)
    from fullcontext.model import tokenizer

    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    asked = contexts.build(prompt, config.data, config.probe, config.seed, positions)
    if config.export is not None:
        _export(asked, prompt, config, Path(config.export))
        return
    write_yaml(config, folder / "config.yaml")
    with (
        alone(folder, "probing in"),
        state.kept("probe", config.name, fingerprint(plain(config)), folder) as status,
    ):
        answers = _Interview(asked, prompt, config, folder / "answers").hold(given, status)
    _print(answers, config, folder)


class _Interview:
    """What is asked, and where the answers go."""

    def __init__(
        self,
        asked: dict[str, list[ProbeContext]],
        prompt: Prompt,
        config: ProbeRunConfig,
        folder: Path,
    ) -> None:
        self.asked, self.prompt, self.config, self.folder = asked, prompt, config, folder

    def hold(self, given: source.Found, status: dict[str, Any]) -> dict[str, list[Answer]]:
        """Asks every task; `status` gets the step of the weights."""
        if isinstance(self.config.answerer, OpenAIAnswerer):
            remote = Remote(
                self.config.answerer, self.config.data, self.prompt,
                self.config.probe.max_new_tokens,
            )  # fmt: skip
            model, step = None, 0
        else:
            remote = None
            model, step = source.load_model(given)
        status["step"] = step
        found = {}
        with _bar() as bar:
            for task, sets in self.asked.items():
                path = answers_file(self.folder, task, step)
                if not path.exists():
                    line = bar.add_task(task, total=sum(len(each.queries) for each in sets))
                    self._ask(model, remote, sets, Partial(path), partial(bar.advance, line))
                found[task] = read_answers(path)
        if remote is not None:
            _account(remote)
        return found

    def _ask(
        self,
        model: Any,
        remote: Remote | None,
        sets: list[ProbeContext],
        kept: Partial,
        advance: Any,
    ) -> None:
        """Asks what `kept` does not have, and completes its file."""
        left = kept.left(sets)
        advance(sum(len(each.queries) for each in sets) - sum(len(e.queries) for e in left))

        def keep(answer: Answer) -> None:
            kept.add(answer)
            advance(1)

        config = self.config
        try:
            if remote is not None:
                window = config.model.architecture.max_positions
                remote.answers(left, window, config.seed, keep)
            else:
                most = config.probe.max_new_tokens
                for each in left:
                    for answer in ask(model, [each], self.prompt, most, config.precision):
                        keep(answer)
        finally:
            kept.close()
        kept.finish(score.with_strict(kept.sorted(), contexts.golds(sets)))


def _account(remote: Remote) -> None:
    """Says what an endpoint cost and what it refused."""
    log.info("%s", remote.meter.line())
    for reason, times in sorted(remote.refused.items()):
        log.warning("%d questions were refused and have no answer: %s", times, reason)


def _replay(config: ProbeRunConfig, files: ReplayConfig, folder: Path) -> None:
    answers = replay.read(files)
    replay.summary(answers, files.bin_items)  # what cannot be scored is refused before a file
    name = config.name or Path(files.predictions).resolve().parent.name
    config = replace(config, name=name)
    write_yaml(config, folder / "config.yaml")
    with (
        alone(folder, "replaying in"),
        state.kept("probe", config.name, fingerprint(plain(config)), folder),
    ):
        write_answers({files.task: answers}, folder / "answers", 0)
    replay.show(files, answers)


def _export(
    asked: dict[str, list[ProbeContext]], prompt: Prompt, config: ProbeRunConfig, folder: Path
) -> None:
    from fullcontext.probe import export

    export.write(asked, prompt, config.probe, folder)
    log.info(
        "lm-eval tasks are in %s: lm-eval run --include_path %s --tasks %s", folder, folder,
        ",".join(f"fullcontext_{task}" for task in asked),
    )  # fmt: skip


def _bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, transient=True)


def _print(answers: dict[str, list[Answer]], config: ProbeRunConfig, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    window = config.model.architecture.max_positions
    table = Table(title=f"{config.name}: window of {window:,} positions")
    columns = ("task", "tokens", "of window", "avg", "strict", "litm", "gap", "n", "first logp")
    for column in (*columns, "mean logp"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, given in answers.items():
        for length in sorted({answer.length for answer in given}):
            of = [answer for answer in given if answer.length == length]
            values = scalars({task: of}, config.probe.bins)
            shown = (
                f"{values.get(f'probe/{task}/{key}', float('nan')):.3f}"
                for key in ("avg", "strict", "litm", "gap")
            )
            logp = (
                float(np.mean([getattr(a, key) for a in of])) for key in ("first_logp", "mean_logp")
            )
            of_window = f"{100 * length / window:.0f} %"
            table.add_row(
                task,
                f"{length:,}",
                of_window,
                *shown,
                str(len(of)),
                *(f"{v:.2f}" if np.isfinite(v) else "–" for v in logp),
            )
    # Whole numbers rather than a table that fits: rich would cut them to the width of the terminal.
    console = Console(width=max(Console().width, Console(width=1000).measure(table).maximum))
    console.print(table)
    console.print(
        f"Answers are in {folder}/answers. A page with curves and intervals:", soft_wrap=True
    )
    console.print(f"  python report.py {folder}", soft_wrap=True, highlight=False)
