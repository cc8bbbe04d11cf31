"""The verb improve.py: rounds of sampling, scoring, pairing and, where it is wanted, training."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fullcontext import provenance, stage
from fullcontext import status as state
from fullcontext.compose import ROOT, ConfigError, RunInfo, compose_verb, plain, read_yaml
from fullcontext.config import ImproveConfig, LocalSampler, TrainConfig
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.improve import accounts
from fullcontext.improve.stages import Round
from fullcontext.launch import STOPPED, StopFlag
from fullcontext.probe import source
from fullcontext.store import fingerprint, locked, read_lines, write_aside
from fullcontext.track import METRICS, Tracker
from fullcontext.train.resuming import LAYOUT, refuse_other

log = logging.getLogger("fullcontext")
TRAINED_ON = "train_pairs.txt"
"""Beside the training of a round: the fingerprint of its pairs."""


def run(config: ImproveConfig, info: RunInfo) -> None:
    """The verb; the same command goes on where it was stopped or killed.

    Raises ConfigError if what it needs is missing, or the folder was begun with other settings.
    """
    from fullcontext.model import tokenizer

    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)
    trained = source.trained(config.run, None, ()) if config.run else None
    if trained is not None:
        config = replace(config, model=trained.config.model, positions=trained.config.positions)
    folder = Path(config.output) / config.name
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    training = _training(config) if config.words else None
    with (
        StopFlag().listening() as stop,
        locked(folder / f".part-{config.part}-of-{config.parts}", f"making part {config.part} of"),
    ):
        rounds = _Rounds(config, folder, prompt, trained, stop, info)
        rounds.round(0, trained).refuse_others()  # before anything in the folder changes
        if config.part == 0:
            provenance.write(folder, config, info)
        id = fingerprint(plain(config))
        with state.kept("improve", config.name, id, folder) as status:
            for number in range(config.rounds):
                status["step"] = number + 1
                content = rounds.make(number, training)
                if content is None:
                    return


class _Rounds:
    def __init__(
        self,
        config: ImproveConfig,
        folder: Path,
        prompt: Prompt,
        trained: source.Trained | None,
        stop: StopFlag,
        info: RunInfo,
    ) -> None:
        self.config, self.folder, self.prompt = config, folder, prompt
        self.trained, self.stop, self.info = trained, stop, info

    def round(self, number: int, before: source.Trained | None) -> Round:
        """A round, which samples with what the one before has trained."""
        return Round(
            self.config, self._place(number), number, self.prompt, _model(self.config, before),
            _weights(self.config, before), self.stop,
        )  # fmt: skip

    def _place(self, number: int) -> Path:
        return self.folder / f"round_{number + 1}"

    def make(self, number: int, training: TrainConfig | None) -> dict[str, Any] | None:
        """One round; the manifest of its pairs, or None while other parts have work left."""
        place, before = self._place(number), self.trained
        if number:
            before = source.trained(str(self._place(number - 1) / "train"), None, ())
        content = self.round(number, before).run()
        if content is None:
            return None
        _print(content, place)
        self._note(number + 1, content)
        if training is not None:
            self._train(place, before, content["pairs"])
        return content

    def _note(self, number: int, content: dict[str, Any]) -> None:
        """A record of the round, once: step is its number, the group that of its training runs."""
        if any(line["step"] == number for line in read_lines(self.folder / METRICS)):
            return
        tracking = replace(self.config.tracking, group=self.group)
        config = replace(self.config, tracking=tracking)
        made = Tracker(
            self.folder, config, self.info, name=self.config.name, verb="improve", step=number
        )
        made.log(number, accounts.scalars(content))
        made.finish()

    @property
    def group(self) -> str:
        """Of all rounds and their training runs."""
        return self.config.tracking.group or self.config.name

    def _train(self, place: Path, before: source.Trained | None, pairs: int) -> None:
        """Trains on the pairs of a round, or goes on; nothing is done where it is finished.

        Raises ConfigError if training fails, or was finished with other settings.
        """
        config, folder = self.config, place / "train"
        if not pairs:
            raise ConfigError(f"{place} has no pair to train on; its manifest says why")
        words = [
            *config.words, f"data.pairs={place / 'pairs'}", f"data.examples.pair={pairs}",
            f"seed={config.seed}", f"tracking.group={self.group}",
            f"hydra.run.dir={folder}",
        ]  # fmt: skip
        if before is not None:
            words.append(f"init={before.folder}")
        _refuse_other_pairs(place, folder)
        if _is_trained(folder, words):
            return
        start = list(map(str, config.launcher)) or [sys.executable]
        log.info("training: %s", " ".join(words))
        code = subprocess.run([*start, str(ROOT / "train.py"), *words], check=False).returncode
        if code == STOPPED:
            raise SystemExit(STOPPED)
        if code:
            raise ConfigError(
                f"train.py ended with {code} in {folder}; see its log.txt, and run the same command"
                " again"
            )


def _refuse_other_pairs(place: Path, folder: Path) -> None:
    """Notes which pairs a training is of. Raises ConfigError if it was begun on others."""
    made, note = stage.read(place / "pairs"), place / TRAINED_ON
    assert made is not None
    if not (folder / "status.json").exists() or not note.exists():
        write_aside(note, made["whole"] + "\n")
    elif note.read_text("utf-8").strip() != made["whole"]:
        raise ConfigError(
            f"{folder} was trained on other pairs than {place / 'pairs'} holds now; delete {folder}"
            " to train again, or choose another name="
        )


def _is_trained(folder: Path, words: list[str]) -> bool:
    """Whether train.py has finished in a folder.

    Raises ConfigError if it did with other words than these; the layout on a machine may differ.
    """
    status = folder / "status.json"
    if not status.exists() or json.loads(status.read_text("utf-8")).get("state") != "finished":
        return False
    here = compose_verb("train", [word for word in words if not word.startswith("hydra.")])
    there = read_yaml(folder / "config.yaml", TrainConfig)
    refuse_other(_learned(there), _learned(here), folder)
    return True


def _learned(config: TrainConfig) -> dict[str, Any]:
    """Settings that change what a run learns."""
    return {key: value for key, value in plain(config).items() if key not in LAYOUT}


def _training(config: ImproveConfig) -> TrainConfig:
    """What train.py will make of its words. Raises ConfigError if the two do not fit together."""
    found: TrainConfig = compose_verb("train", config.words)
    if "pair" not in found.data.kinds:
        raise ConfigError(
            f"training by {config.words} trains on {', '.join(found.data.kinds)}; add data=pairs"
        )
    for key in ("tokenizer", "chat", "path"):
        here, there = getattr(config.model, key), getattr(found.model, key)
        if here != there:
            raise ConfigError(
                f"training by {config.words} has model.{key}={there!r}, sampling {here!r}; the"
                " model that samples is the one that is trained: name it in both"
            )
    return found


def _model(config: ImproveConfig, before: source.Trained | None) -> Callable[[], Any]:
    """Loads the sampling model once, when it is first needed."""

    @cache
    def load() -> Any:
        from fullcontext.model import load as models

        weights = before.weights if before is not None else None
        model = models.load(config.model, config.positions, config.seed, weights)
        run = before.folder if before is not None and weights is None else None
        return source.restore(model, run, None, 0)[0].eval()

    return load


def _weights(config: ImproveConfig, before: source.Trained | None) -> str:
    """What changes when the sampling model does."""
    if not isinstance(config.sampler, LocalSampler):
        return str(plain(config.sampler)["model"])
    if before is not None and before.weights is not None:
        from fullcontext.llm.local import weights_id

        return weights_id(str(before.weights), None)
    named = [plain(config.model), plain(config.positions), config.seed, config.run]
    return fingerprint(named)


def _print(content: dict[str, Any], place: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "right", "tokens", title=f"{place}: {content['pairs']:,} pairs")
    for name, value in content["right"].items():
        tokens = content["tokens"].get({"random": "outputs"}.get(name, name))
        shown = "" if tokens is None else f"{tokens:.1f}"
        table.add_row(name, "" if value is None else f"{value:.3f}", shown)
    console = Console(file=sys.stdout)
    console.print(table)
    for name, found in content["gaps"].items():
        if found is not None:
            mean, low, high = found
            console.print(f"{name}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]", highlight=False)
    for reason, count in content["dropped"].items():
        console.print(f"{reason}: {count:,}", highlight=False)
