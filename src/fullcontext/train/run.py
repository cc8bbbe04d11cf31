"""train.py: wires data, model and loop, and keeps the run folder."""

import json
import logging
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullcontext import launch, provenance
from fullcontext.compose import ConfigError, RunInfo
from fullcontext.config import Strategy, TrainConfig
from fullcontext.data import manifest, reader
from fullcontext.data.mixture import Mixture
from fullcontext.data.packing import plan
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import load, sharding, tokenizer
from fullcontext.records import Answer, Example
from fullcontext.store import alone, read_lines, write_aside
from fullcontext.track import Tracker
from fullcontext.train import checkpoint
from fullcontext.train.card import model_card
from fullcontext.train.console import Console
from fullcontext.train.loop import Diverged, Loop, Step, bad_record
from fullcontext.train.status import Status

if TYPE_CHECKING:
    from fullcontext.probe.contexts import ProbeContext

log = logging.getLogger("fullcontext")
BAD_STEPS = "bad_steps.jsonl"


def run(config: TrainConfig, info: RunInfo) -> float | None:
    """Trains, or goes on training, in `info.output_dir`; returns the last loss.

    Of several ranks all take the same steps; the first one alone writes the folder.
    """
    folder = info.output_dir
    name = config.name or info.choices.get("experiments") or "baseline"
    with launch.world(config.threads, config.sharding.timeout_s) as world, ExitStack() as held:
        if world.is_main:
            held.enter_context(alone(folder, "training in"))
        launch.barrier()  # nobody reads the folder of a run that another process is training
        console = held.enter_context(Console(folder, world.is_main))
        stop = held.enter_context(launch.StopFlag().listening())
        status = Status(folder, name, config.steps, world.is_main)
        try:
            loss = _Run(config, info, world, name, status).train(stop, console)
        except BaseException as error:
            status.write("failed", error=f"{type(error).__name__}: {error}".splitlines()[0])
            if isinstance(error, Diverged):
                raise ConfigError(str(error)) from error
            raise
        if stop.name and status.state == "stopped":
            log.info("stopped by %s; go on with: python train.py resume=%s", stop.name, folder)
            raise SystemExit(launch.STOPPED)
        return loss


class _Run:
    def __init__(
        self, config: TrainConfig, info: RunInfo, world: launch.World, name: str, status: Status
    ) -> None:
        self.config, self.info, self.world, self.name = config, info, world, name
        self.folder, self.status = info.output_dir, status
        self.saved = -1
        """Step of the newest whole checkpoint."""
        self.encoder = Encoder(tokenizer.load(config.model))
        self.prompt = Prompt(config.data, config.model.chat, self.encoder)
        self.mixture = self._mixture()
        self._refuse_unknown_words()
        self.asked = self._probe_contexts()
        log.info("run folder: %s", self.folder)
        log.info("%s\n%s", self._headline(), self.mixture.describe(config.steps))
        model = self._model()
        share = sharding.share(config.sharding, world, model)
        self.loop = Loop(config, model, self.mixture, world.device, share)
        self._restore()
        self.tracker: Tracker | None = None
        if world.is_main:
            if not (self.folder / "config.yaml").exists():
                provenance.write(self.folder, config, info)
            self.tracker = Tracker(
                self.folder, config, info, name=name, verb="train", step=self.loop.progress.step
            )
            status.id = self.tracker.id

    def _headline(self) -> str:
        config = self.config
        return (
            f"{config.steps:,} steps of {config.batch_size} examples, model {config.model.name}"
            f" ({config.model.architecture.num_parameters / 1e6:,.1f}M parameters) on"
            f" {self.world.device.type} in {config.precision.value}{self._layout()}"
        )

    def _layout(self) -> str:
        settings, size = self.config.sharding, self.world.size
        if settings.strategy is Strategy.none:
            return ""
        pieces = settings.context_parallel
        cut = f", rows cut in {pieces}" if pieces > 1 else ""
        return f", {settings.strategy.value} over {size} ranks{cut}"

    def _mixture(self) -> Mixture:
        config = self.config
        store = None
        if config.data.needs_store:
            store = reader.open_store(config, manifest.tokenizer_hash(self.encoder))
        return Mixture(config.data, self.prompt, store, config.seed, config.batch_size)

    def _refuse_unknown_words(self) -> None:
        """A vocabulary of symbols would train on "unknown" without a word."""
        unknown = self.encoder.tokenizer.unk_token_id
        for example in self.mixture.batch(0) + self.mixture.batch(self.config.steps - 1):
            if example.tokens > self.config.row_tokens:
                plan([example], self.config.row_tokens)
            if any(
                unknown in ids for asked in example.asked for ids in (asked.prompt, asked.answer)
            ):
                raise ConfigError(
                    f"the tokenizer {self.config.model.tokenizer} does not know the words of"
                    f" data={self.config.data.name}; choose data that fits it (model=symbols:"
                    " data=key_value_symbols with at most model.symbols keys and values)"
                )

    def _probe_contexts(self) -> "dict[str, list[ProbeContext]]":
        """Built before the first step: what cannot be asked is refused before training."""
        config = self.config
        if not config.probe.tasks:
            return {}
        from fullcontext.probe import contexts

        positions = config.model.architecture.max_positions
        return contexts.build(self.prompt, config.data, config.probe, config.seed, positions)

    def _model(self) -> Any:
        config = self.config
        init = Path(config.init) if config.init else None
        exported = init and next((p for p in (init / "export", init) if _is_export(p)), None)
        model = load.load(
            config.model, config.positions, config.seed, exported or None, config.attention.backend
        )
        if len(self.encoder.tokenizer) > model.get_input_embeddings().num_embeddings:
            raise ConfigError(
                f"the tokenizer {config.model.tokenizer} has {len(self.encoder.tokenizer)} tokens,"
                f" the model {config.model.name} embeds"
                f" {model.get_input_embeddings().num_embeddings}; choose matching ones"
            )
        sharding.recompute(model, config.checkpointing)
        model = sharding.shard(model.train(), config.sharding, config.precision, self.world)
        if init and not exported:
            checkpoint.load_weights(model, init)
        return model

    def _restore(self) -> None:
        found = checkpoint.newest(self.folder)
        if found is None:
            if self.config.resume:
                log.info("no checkpoint yet in %s: starting at step 0", self.folder)
            return
        extra = checkpoint.load(found, self.loop.model, self.loop.optimizer)
        self.loop.restore(extra)
        self.saved = self.loop.progress.step
        if self.world.is_main:
            self._rewind_bad_steps()
        log.info("going on from %s", found)

    def _rewind_bad_steps(self) -> None:
        path = self.folder / BAD_STEPS
        kept = [line for line in read_lines(path) if line["step"] <= self.saved]
        if path.exists():
            write_aside(path, "".join(json.dumps(line) + "\n" for line in kept))

    def train(self, stop: launch.StopFlag, console: Console) -> float | None:
        """All steps, with probes and checkpoints on the way; the last loss, or None if stopped."""
        steps, last = self.config.steps, None
        failed = True
        try:
            self._probe_if_due()
            with console.progress(self.loop.progress.step, steps) as show:
                for done in self.loop.run(steps, self._note_bad):
                    last = done.loss
                    if self._after(done, show, stop):
                        self._save()
                        break
            stopped = self.loop.progress.step < steps
            if not stopped:
                self._finish(last)
            failed = False
            return None if stopped else last
        finally:
            if self.tracker is not None:
                self.tracker.finish(failed)
            if not failed and self.loop.progress.step < steps:
                self.status.write("stopped", self.loop.progress.step)

    def _after(self, done: Step, show: Any, stop: launch.StopFlag) -> bool:
        """Records a step, saves and probes where due; whether the run was asked to stop."""
        progress = self.loop.progress
        if progress.step % self.config.log_every == 0 or progress.step == self.config.steps:
            totals = {k: v for k, v in vars(progress).items() if k != "skipped_in_a_row"}
            totals.pop("step")
            self._log(progress.step, {**done.record(), **totals})
        show(progress.step, done)
        self.status.tick(progress.step, progress.seconds)
        if progress.step % self.config.checkpoint.every_steps == 0:
            self._save()
        if stop.agree():
            return True
        self._probe_if_due()
        return False

    def _log(self, step: int, values: dict[str, Any]) -> None:
        if self.tracker is not None:
            self.tracker.log(step, values)

    def _save(self) -> None:
        step = self.loop.progress.step
        if step == self.saved:
            return
        checkpoint.save(
            self.folder,
            step,
            self.loop.model,
            self.loop.optimizer,
            self.loop.state(),
            self.config.checkpoint.keep,
        )
        self.saved = step

    def _probe_if_due(self) -> None:
        settings, step = self.config.probe, self.loop.progress.step
        if not settings.is_due(step, self.config.steps):
            return
        seen = self.tracker is not None and self.tracker.seen(step, "probe/")
        if launch.sum_floats([float(seen)])[0]:
            return
        from fullcontext.probe.run import scalars, write_answers

        answers = self._answers()
        if self.world.is_main:
            write_answers(answers, self.folder / "answers", step)
            self._log(step, {**scalars(answers, settings.bins), **self._totals()})

    def _answers(self) -> dict[str, list[Answer]]:
        """All ranks' answers on every rank: each holds the whole model and asks its contexts."""
        from fullcontext.probe.run import ask

        settings, rank, size = self.config.probe, self.world.rank, self.world.size
        answers: dict[str, list[Answer]] = {}
        with sharding.gathered(self.loop.model) as model:
            for task, sets in self.asked.items():
                own = ask(
                    model, sets[rank::size], self.prompt, settings.max_new_tokens,
                    self.config.precision,
                )  # fmt: skip
                given = launch.gather([asdict(answer) for answer in own])
                together = [Answer(**record) for part in given for record in part]
                answers[task] = sorted(together, key=lambda answer: (answer.set, answer.position))
        return answers

    def _totals(self) -> dict[str, float]:
        progress = self.loop.progress
        return {"tokens": progress.tokens, "examples": progress.examples}

    def _note_bad(self, step: int, done: Step, examples: list[Example]) -> None:
        log.warning(
            "step %d: loss %s, gradient norm %s: no update", step, done.loss, done.grad_norm
        )
        if self.world.is_main:
            with (self.folder / BAD_STEPS).open("a") as file:
                file.write(bad_record(step, done, examples))

    def _finish(self, last: float | None) -> float | None:
        from fullcontext.report import data_figures

        self._save()
        if last is None and _is_export(self.folder / "export"):
            log.info("%s is finished already", self.folder)
            self.status.write("finished", self.loop.progress.step, self.loop.progress.seconds)
            return None
        report = self.loop.tally.report(self.mixture, self.config.steps)
        if self.world.is_main:
            write_aside(self.folder / "data.json", json.dumps(report, indent=1))
            data_figures.write(report, self.folder / "figures")
        if self.config.checkpoint.export:
            card = model_card(self.config, self.name, report, last)
            checkpoint.export(self.folder, self.loop.model, self.encoder.tokenizer, card)
        self.status.write("finished", self.loop.progress.step, self.loop.progress.seconds)
        log.info("finished; look at it: python report.py %s", self.folder)
        return last


def _is_export(folder: Path) -> bool:
    return (folder / "config.json").exists() and any(folder.glob("*.safetensors"))
