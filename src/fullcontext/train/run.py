"""train.py: wires data, model and loop, and keeps the run folder."""

import json
import logging
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from fullcontext import launch, provenance
from fullcontext.compose import ConfigError, RunInfo
from fullcontext.config import TrainConfig
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.model import sharding, tokenizer
from fullcontext.records import Answer, Example
from fullcontext.store import alone, read_lines, write_aside
from fullcontext.track import METRICS, Tracker
from fullcontext.train import export, limits, planning, preparation, profiling, reference
from fullcontext.train.card import model_card
from fullcontext.train.console import Console
from fullcontext.train.loop import Diverged, Loop, Step, bad_record
from fullcontext.train.peers import PeerError, Peers
from fullcontext.train.saving import Saver
from fullcontext.train.status import Status, named

log = logging.getLogger("fullcontext")
BAD_STEPS = "bad_steps.jsonl"


def run(config: TrainConfig, info: RunInfo) -> float | None:
    """Trains, or goes on training, in `info.output_dir`; returns the last loss.

    Of several ranks all take the same steps; the first one alone writes the folder.
    """
    folder = info.output_dir
    name = config.name or named(folder) or info.choices.get("experiments") or "baseline"
    with launch.world(config.threads, config.sharding.timeout_s) as world, ExitStack() as held:
        if world.is_main:
            held.enter_context(alone(folder, "training in"))
        launch.barrier()  # nobody reads the folder of a run that another process is training
        console = held.enter_context(Console(folder, world.is_main))
        stop = held.enter_context(launch.StopFlag().listening())
        status = Status(folder, name, config.steps, world.is_main)
        status.ranks, status.device = world.size, world.device.type
        try:
            loss = _Run(config, info, world, name, status).train(stop, console)
        except BaseException as error:
            status.write("failed", error=f"{type(error).__name__}: {error}".splitlines()[0])
            if isinstance(error, Diverged):
                raise ConfigError(str(error)) from error
            raise
        if stop.name == limits.BUDGET:
            log.info(
                "stopped by %s, budget.gpu_hours=%s; all is saved, go on with: python train.py"
                " resume=%s budget.gpu_hours=MORE", stop.name, config.budget.gpu_hours, folder,
            )  # fmt: skip
            raise SystemExit(launch.OVER_BUDGET)
        if stop.name and status.state == "stopped":
            log.info("stopped by %s; go on with: python train.py resume=%s", stop.name, folder)
            raise launch.stopped()
        return loss


class _Run:
    def __init__(
        self, config: TrainConfig, info: RunInfo, world: launch.World, name: str, status: Status
    ) -> None:
        self.config, self.info, self.world, self.name = config, info, world, name
        self.folder, self.status, self.stopped = info.output_dir, status, "stopped"
        self.peers = Peers.found()
        self.saver = Saver(self.folder, config, self.peers)
        self.encoder = Encoder(tokenizer.load(config.model))
        self.prompt = Prompt(config.data, config.model.chat, self.encoder)
        self.mixture = preparation.mixture(config, self.prompt)
        self.asked = preparation.probe_contexts(config, self.prompt)
        log.info("run folder: %s", self.folder)
        headline = preparation.headline(config, world)
        log.info("%s\n%s", headline, self.mixture.describe(config.steps))
        model = preparation.model(config, world, self.peers, len(self.encoder.tokenizer))
        share = sharding.share(config.sharding, world, model)
        self.loop = Loop(config, model, self.mixture, world.device, share)
        reference.attach(self.loop, self.folder)
        self._restore()
        self.limits = planning.limits(config, world, self.loop.progress.seconds)
        self.tracker: Tracker | None = None
        if world.is_main:
            if not (self.folder / "config.yaml").exists():
                provenance.write(self.folder, config, info)
            planning.write(self.folder, config, world, self.mixture)
            self.tracker = Tracker(
                self.folder, config, info, name=name, verb="train", step=self.loop.progress.step
            )
            status.id = self.tracker.id

    def _restore(self) -> None:
        extra = self.saver.restore(self.loop.model, self.loop.optimizer)
        if extra is not None:
            self.loop.restore(extra)
        elif self.config.resume:
            log.info("no whole checkpoint in %s: starting at step 0", self.folder)
        if self.world.is_main:
            self._rewind_bad_steps()

    def _rewind_bad_steps(self) -> None:
        path = self.folder / BAD_STEPS
        kept = [line for line in read_lines(path) if line["step"] <= self.loop.progress.step]
        if path.exists():
            write_aside(path, "".join(json.dumps(line) + "\n" for line in kept))

    def train(self, stop: launch.StopFlag, console: Console) -> float | None:
        """All steps, with probes and checkpoints on the way; the last loss, or None if stopped."""
        steps, last = self.config.steps, None
        failed = True
        try:
            self._probe_if_due()
            at = self.loop.progress.step
            with (
                console.progress(at, steps) as show,
                profiling.trace(self.config.profile, self.folder, at, self.world.rank) as traced,
            ):
                for done in self.loop.run(steps, self._note_bad):
                    traced(self.loop.progress.step)
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
            self.saver.close(failed)
            if self.tracker is not None:
                self.tracker.finish(failed)
            if not failed and self.loop.progress.step < steps:
                self.status.write(self.stopped, self.loop.progress.step)

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
        why = self.limits.reached(
            done.seconds, progress.step, self.config.steps, self.saver.longest_s
        )
        stop.name = stop.name or why
        if stop.agree():
            self._agree_on_budget(stop)
            return True
        self._probe_if_due()
        return False

    def _agree_on_budget(self, stop: launch.StopFlag) -> None:
        """All ranks end for the same reason, whichever of them saw it."""
        if launch.sum_floats([float(stop.name == limits.BUDGET)])[0]:
            stop.name = limits.BUDGET
            self.stopped = launch.OVER_BUDGET_STATE

    def _log(self, step: int, values: dict[str, Any]) -> None:
        if self.tracker is not None:
            self.tracker.log(step, values)

    def _save(self) -> None:
        loop = self.loop
        self.saver.save(loop.progress.step, loop.model, loop.optimizer, loop.state())

    def _probe_if_due(self) -> None:
        settings, step = self.config.probe, self.loop.progress.step
        if not settings.is_due(step, self.config.steps):
            return
        seen = self.tracker is not None and self.tracker.seen(step, "probe/")
        if launch.sum_floats([float(seen)])[0]:
            return
        from fullcontext.probe.asking import scalars, write_answers

        answers = self._answers()
        if self.world.is_main:
            write_answers(answers, self.folder / "answers", step)
            self._log(step, {**scalars(answers, settings.bins), **self._totals()})
            if self.tracker is not None:
                self.tracker.curves(step, answers, settings.bins)

    def _answers(self) -> dict[str, list[Answer]]:
        """All ranks' answers on every rank: each holds the whole model and asks its contexts."""
        from fullcontext.probe import contexts, score
        from fullcontext.probe.asking import ask

        settings, rank, size = self.config.probe, self.world.rank, self.world.size
        answers: dict[str, list[Answer]] = {}
        early = self.loop.progress.step < self.config.steps
        asked = contexts.within(self.asked, settings.budget_tokens if early else None)
        with sharding.gathered(self.loop.model) as model:
            for task, sets in asked.items():
                own = ask(
                    model, sets[rank::size], self.prompt, settings.max_new_tokens,
                    self.config.precision,
                )  # fmt: skip
                given = launch.gather([asdict(answer) for answer in own])
                together = [Answer(**record) for part in given for record in part]
                together.sort(key=lambda answer: (answer.length, answer.set, answer.position))
                answers[task] = score.with_strict(together, contexts.golds(sets))
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
        self.status.value = self._last_logged("loss")
        if last is None and preparation.is_export(self.folder / "export"):
            log.info("%s is finished already", self.folder)
            self.status.write("finished", self.loop.progress.step, self.loop.progress.seconds)
            return None
        report = self.loop.tally.report(self.mixture, self.config.steps)
        if self.world.is_main:
            write_aside(self.folder / "data.json", json.dumps(report, indent=1))
            data_figures.write(report, self.folder / "figures")
        self.saver.wait()  # ranks write one thing at a time: the messages of two must not mix
        if self.config.checkpoint.export:
            self._export(model_card(self.config, self.name, report, last, self._scores()))
        if self.tracker is not None:
            self.tracker.results()
        self.status.write("finished", self.loop.progress.step, self.loop.progress.seconds)
        log.info("finished; look at it: python report.py %s", self.folder)
        return last

    def _export(self, card: str) -> None:
        dtype = self.config.checkpoint.export_dtype
        try:
            export.write(
                self.folder, self.loop.model, self.encoder.tokenizer, card, dtype, self.peers
            )
        except PeerError as error:
            raise ConfigError(
                f"the model was trained, but not exported ({error}); make room and write the export"
                f" alone with: python train.py resume={self.folder}"
            ) from error

    def _last_logged(self, key: str) -> float | None:
        values = [line[key] for line in read_lines(self.folder / METRICS) if key in line]
        return values[-1] if values else None

    def _scores(self) -> dict[str, float]:
        """What the last probe of the run logged."""
        found: dict[str, float] = {}
        for record in read_lines(self.folder / METRICS):
            scores = {key: value for key, value in record.items() if key.startswith("probe/")}
            found = scores or found
        return {key: value for key, value in found.items() if value is not None}
