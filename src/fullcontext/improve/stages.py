"""A round: problems -> outputs -> scores -> pairs, each a folder that is finished or goes on."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fullcontext import stage
from fullcontext.compose import ConfigError, plain
from fullcontext.config import ImproveConfig, LocalSampler, OwnPrompts, SelfEvalUtility
from fullcontext.data import manifest
from fullcontext.data.pairs import FILE as PAIRS
from fullcontext.data.pairs import SCHEMA
from fullcontext.data.tokens import Prompt
from fullcontext.improve import accounts, judging, own, problems
from fullcontext.improve.pairing import Chosen, Output, Outputs, pair
from fullcontext.improve.problems import Problem, Problems
from fullcontext.improve.sampling import LocalOutputs, ServedOutputs
from fullcontext.improve.work import Record, Work, refuse_others
from fullcontext.launch import StopFlag
from fullcontext.store import locked, read_lines, write_table

log = logging.getLogger("fullcontext")
_WAIT_S = 3600.0
"""The other processes wait so long for the one that makes the problems."""
_CALLING = ("at_once", "concurrency", "timeout_s", "tries", "longest_pause_s", "give_up_after",
            "cache", "price_in", "price_out", "budget_tokens", "budget_money", "key_variable",
            "base_url", "batch_size", "device")  # fmt: skip
"""Settings of samplers and utilities that do not change what comes of them."""


class Round:
    """One round in a folder. `weights` names the sampling model in the settings of its outputs."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a round is a function of
        self,
        config: ImproveConfig,
        folder: Path,
        number: int,
        prompt: Prompt,
        model: Callable[[], Any],
        weights: str,
        stop: StopFlag,
    ) -> None:
        self.config, self.folder, self.number = config, folder, number
        self.prompt, self.model, self.weights, self.stop = prompt, model, weights, stop
        self.source = Path(config.samples) if config.samples else folder
        """Where problems and outputs are."""

    def run(self) -> dict[str, Any] | None:
        """The manifest of the finished pairs; None while other parts have work left.

        Raises ConfigError as the stages do, and SystemExit(75) after a stop signal.
        """
        if self.config.samples is None:
            self._pose()
        else:
            self._refuse_samples(self.config.samples)
        given = self._problems()
        outputs = self._work("outputs", given, self._output_settings())
        if not outputs.is_finished:
            self._sample(outputs, given)
            if not self._finished(outputs, _sampled):
                return None
        scores = self._work("scores", given, self._score_settings())
        if not scores.is_finished:
            self._score(scores, given, outputs)
            if not self._finished(scores, lambda records: {}):
                return None
        with locked(self.folder / ".lock", "making pairs in", wait_s=_WAIT_S):
            self._pair(given, outputs, scores)
        return stage.read(self.folder / "pairs")

    def refuse_others(self) -> None:
        """Raises ConfigError if a stage here was made or begun with other settings, or is damaged;
        writes nothing."""
        stages = {
            "problems": self._problem_settings, "outputs": self._output_settings,
            "scores": self._score_settings, "pairs": self._pair_settings,
        }  # fmt: skip
        if self.config.samples is not None:
            self._refuse_samples(self.config.samples)
            del stages["problems"], stages["outputs"]
        for name, settings in stages.items():
            if not stage.finished(self.folder / name, settings()):
                refuse_others(self.folder / name, settings())
                return

    def _refuse_samples(self, folder: str) -> None:
        content = stage.read(Path(folder) / "outputs")
        if content is None:
            raise ConfigError(
                f"samples={folder!r} has no finished outputs; run improve.py there first, or leave"
                " samples out"
            )
        number, first = content["settings"]["sampler"]["number"], self.config.first
        if first is not None and first > number:
            raise ConfigError(
                f"first={first} is more than the {number} outputs of each prompt in"
                f" samples={folder!r}; choose at most {number}, or sample more"
            )

    def _work(self, name: str, given: Problems, settings: dict[str, Any]) -> Work:
        folder = (self.source if name == "outputs" else self.folder) / name
        if name == "outputs" and self.config.samples is not None:
            settings = (stage.read(folder) or {}).get("settings", settings)
        return Work(folder, given.ids, settings, self.config.part, self.config.parts)

    def _finished(self, work: Work, facts: Callable[[list[Record]], dict[str, Any]]) -> bool:
        with locked(self.folder / ".lock", "joining parts in", wait_s=_WAIT_S):
            if work.finish(facts):
                return True
        log.info(
            "part %d of %d has done its %s; the last part to end goes on with its own share of what"
            " follows: when all have ended, start all parts again until there are pairs",
            self.config.part, self.config.parts, work.folder.name,
        )  # fmt: skip
        return False

    def _problems(self) -> Problems:
        folder = self.source / "problems"
        content = stage.read(folder)
        if content is None:
            raise ConfigError(f"{folder} is not finished; run improve.py there first")
        stage.refuse_damaged(folder, content)
        return Problems(folder)

    def _pose(self) -> None:
        folder = self.folder / "problems"
        settings = self._problem_settings()
        with locked(self.folder / ".lock", "posing problems in", wait_s=_WAIT_S):
            if stage.finished(folder, settings):
                return
            dropped: Counter[str] = Counter()
            made = self._fitting(self._posed(dropped), dropped)
            if not made:
                raise ConfigError(f"no prompt is left of {self.config.prompts.name}: {dropped}")
            problems.write(folder, made, settings, dict(dropped))

    def _posed(self, dropped: Counter[str]) -> list[Problem]:
        if isinstance(self.config.prompts, OwnPrompts):
            return own.problems(self.config, self.prompt, self.number, dropped)
        from fullcontext.improve.musique import problems as of_musique

        return of_musique(self.config, self.prompt, self.number, dropped)

    def _fitting(self, made: list[Problem], dropped: Counter[str]) -> list[Problem]:
        positions = self.config.model.architecture.max_positions
        fitting = [each for each in made if each.tokens < positions]
        if len(fitting) < len(made):
            dropped["prompt longer than the model's positions"] += len(made) - len(fitting)
        return fitting

    def _problem_settings(self) -> dict[str, Any]:
        config = self.config
        found = {
            "prompts": plain(config.prompts), "round": self.number, "seed": config.seed,
            "tokenizer_hash": manifest.tokenizer_hash(self.prompt.encoder),
            "chat": config.model.chat.value, "positions": config.model.architecture.max_positions,
        }  # fmt: skip
        if isinstance(config.prompts, OwnPrompts):
            found["data"] = {k: v for k, v in plain(config.data).items() if k != "pairs"}
        return found

    def _output_settings(self) -> dict[str, Any]:
        return {
            "problems": stage.whole(self.source / "problems"), "weights": self.weights,
            "seed": self.config.seed, "sampler": _telling(plain(self.config.sampler)),
            "precision": self.config.precision.value,
        }  # fmt: skip

    def _score_settings(self) -> dict[str, Any]:
        found = {
            "outputs": stage.whole(self.source / "outputs"),
            "utility": _telling(plain(self.config.utility)), "first": self.config.first,
        }  # fmt: skip
        if isinstance(self.config.utility, SelfEvalUtility):
            # With samples= another model than the one that sampled may judge.
            found |= {"weights": self.weights, "precision": self.config.precision.value}
        return found

    def _pair_settings(self) -> dict[str, Any]:
        return {
            "scores": stage.whole(self.folder / "scores"), "selector": self.config.selector.value,
            "match": self.config.match.value, "seed": self.config.seed,
        }  # fmt: skip

    def _sample(self, work: Work, given: Problems) -> None:
        if isinstance(self.config.sampler, LocalSampler):
            if work.left():
                local = LocalOutputs(self.config, self.prompt, self.model())
                work.each(lambda place: local.record(given[place]), self.stop)
            return
        served = ServedOutputs(self.config)
        with work.keeping() as keep:
            served.records([given[place] for place in work.left()], keep, self.stop)

    def _score(self, work: Work, given: Problems, outputs: Work) -> None:
        if not work.left():
            return
        said = self._said(outputs)
        judge = judging.judge(self.config, self.prompt, self.model)

        def record(place: int) -> Record:
            problem = given[place]
            texts = [each["text"] for each in said[problem.id]["outputs"]]
            return {"id": problem.id, "scores": judge(problem, texts) if texts else []}

        work.each(record, self.stop)

    def _said(self, outputs: Work) -> dict[str, Record]:
        """The outputs of each problem, the first so many of them."""
        found = {}
        for record in read_lines(outputs.file):
            record["outputs"] = record["outputs"][: self.config.first]
            found[record["id"]] = record
        return found

    def _pair(self, given: Problems, outputs: Work, scores: Work) -> None:
        config, folder = self.config, self.folder / "pairs"
        settings = self._pair_settings()
        if stage.finished(folder, settings):
            return
        said = self._said(outputs)
        rated = {record["id"]: tuple(record["scores"]) for record in read_lines(scores.file)}
        dropped: Counter[str] = Counter()
        pairs: dict[str, Chosen] = {}
        rows, every = [], []
        for place, id in enumerate(given.ids):
            problem = given[place]
            each = _outputs(problem, said[id], rated[id])
            if not each.outputs:
                dropped["no output came"] += 1
                continue
            every.append(each)
            found = pair(each, config.selector, config.match, config.seed)
            if isinstance(found, Chosen):
                found = self._untrainable(problem, found) or found
            if isinstance(found, str):
                dropped[found] += 1
                continue
            pairs[id] = found
            rows.append(_row(problem, found))
        write_table(folder / PAIRS, rows, SCHEMA)
        facts = {
            "pairs": len(rows),
            "dropped": dict(dropped),
            **accounts.diagnostics(every, pairs, config.match, config.seed),
        }
        stage.finish(folder, settings, [PAIRS], **facts)

    def _untrainable(self, problem: Problem, found: Chosen) -> str | None:
        """Why a pair cannot be laid out as tokens; None if it can."""
        try:
            for output in (found.better, found.worse):
                self.prompt.follow(problem.after, output.text)
        except ValueError:
            return "the tokenizer merges the prompt with an output"
        return None


def _telling(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _CALLING}


def _sampled(records: list[Record]) -> dict[str, Any]:
    every = [output for record in records for output in record["outputs"]]
    tokens = sum(output["tokens"] for output in every)
    refused: Counter[str] = Counter()
    for record in records:
        refused.update(record.get("refused", {}))
    facts = {"outputs": len(every), "tokens": tokens}
    return {**facts, "refused": dict(refused)} if refused else facts


def _outputs(problem: Problem, said: Record, scores: tuple[float, ...]) -> Outputs:
    greedy = said["greedy"]
    return Outputs(
        problem.id,
        tuple(Output(**output) for output in said["outputs"]),
        scores,
        problem.golds,
        None if greedy is None else Output(**greedy),
    )


def _row(problem: Problem, found: Chosen) -> dict[str, Any]:
    told = {k: v for k, v in asdict(problem).items() if k != "tokens"}
    return {
        **told,
        "chosen": found.better.text,
        "rejected": found.worse.text,
        "chosen_score": found.better_score,
        "rejected_score": found.worse_score,
    }
