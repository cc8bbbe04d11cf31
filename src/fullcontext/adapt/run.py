"""The verb adapt.py: for each document an adapter, answers, and what both cost (LIFT).

    OUTPUT/NAME/documents/ID/adapter/   weights, lessons.jsonl (a line a step), auxiliary.jsonl
    OUTPUT/NAME/documents/ID/answers-XXXX/answers.jsonl    one folder for each set of questions
    OUTPUT/NAME/answers.jsonl, results.json                of all documents, once they are there

Both stages end with a manifest, so that a killed run goes on with the document it was at, and a
new question about a document is answered by the adapter that is there.
"""

import json
import logging
import time
from collections import Counter, defaultdict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fullcontext import launch, provenance, stage
from fullcontext import status as state
from fullcontext.adapt import accounts, documents, outcome, questioning
from fullcontext.adapt.documents import Given
from fullcontext.adapt.lessons import Lessons, Text
from fullcontext.compose import ConfigError, RunInfo, plain
from fullcontext.config import AdaptConfig, Mode
from fullcontext.data.mixture import Mixture
from fullcontext.data.tokens import Encoder, Prompt
from fullcontext.launch import StopFlag
from fullcontext.probe import source
from fullcontext.store import alone, fingerprint, locked, write_aside

log = logging.getLogger("fullcontext")

LEARNT = (
    "model", "positions", "run", "documents", "data", "corpus", "writer", "judge", "filters",
    "adapter", "schedule", "optimizer", "segments", "contextualise", "auxiliary", "epochs",
    "rehearsal", "max_tokens", "normalise", "precision", "seed",
)  # fmt: skip
"""Settings that an adapter follows from, with its document."""


def run(config: AdaptConfig, info: RunInfo) -> None:
    """The verb; the same command goes on where it was stopped or killed.

    Raises ConfigError if what it needs is missing, or the folder was begun with other settings.
    """
    from fullcontext.model import tokenizer

    if config.paraphrase.meteor or config.paraphrase.bertscore:
        from fullcontext.adapt import paraphrase

        paraphrase.check(config.paraphrase)
    trained = source.trained(config.run, None, ()) if config.run else None
    if trained is not None:
        config = replace(config, model=trained.config.model, positions=trained.config.positions)
    folder = Path(config.output) / config.name
    prompt = Prompt(config.data, config.model.chat, Encoder(tokenizer.load(config.model)))
    counted: Counter[str] = Counter()
    given = documents.read(config, prompt, counted)
    with (
        launch.world(config.threads) as world,
        StopFlag().listening() as stop,
        locked(
            folder / f".part-{config.part}-of-{config.parts}", f"adapting part {config.part} of"
        ),
    ):
        if world.size > 1:
            raise ConfigError(
                "adapt.py shares documents, not ranks: start processes with part=0,1,... and"
                f" parts={world.size} instead of torchrun"
            )
        if config.part == 0:
            provenance.write(folder, config, info)
        id = fingerprint(plain(config))
        with state.kept("adapt", config.name, id, folder) as status, _job(config, id, info):
            work = Work(config, prompt, given, trained, world.device, stop)
            own = work.adapted[config.part :: config.parts]
            for number, each in enumerate(own, 1):
                with alone(folder / "documents" / each.id, "adapting to"):
                    work.adapt(each)
                status["step"], status["steps"] = number, len(own)
            answered = work.finished()
            if answered is not None:
                outcome.score_paraphrases(config, answered, folder, stop)
            with locked(folder / ".results", "writing the results of", wait_s=60):
                outcome.write(folder, config, info, work.places(), answered, dict(counted))


def _job(config: AdaptConfig, id: str, info: RunInfo) -> AbstractContextManager[object]:
    """The status of a job of an array, in its own folder, where report.py --status looks for it."""
    if info.output_dir.resolve() == Path(config.output).resolve():
        return nullcontext()
    return state.kept("adapt", config.name, id, info.output_dir)


class Work:
    """Takes documents one after another; the model is loaded when it is first needed."""

    def __init__(
        self,
        config: AdaptConfig,
        prompt: Prompt,
        given: list[Given],
        trained: source.Trained | None,
        device: Any,
        stop: StopFlag,
    ) -> None:
        self.config, self.prompt, self.given = config, prompt, given
        self.adapted = documents.adapted(config, given)
        self.trained, self.device, self.stop = trained, device, stop
        self.folder = Path(config.output) / config.name

    def adapt(self, given: Given) -> None:
        """The adapter of a document, unless it is there, and the answers to its questions."""
        place = self.folder / "documents" / given.id / "adapter"
        settings = self._learnt(given)
        fresh = not stage.finished(place, settings)
        if fresh:
            self._train(given, place, settings)
        answers = self._answers(given)
        asked = self._asked(given)
        if not given.questions or stage.finished(answers, asked):
            return
        content = stage.read(place)
        assert content is not None
        if not fresh:
            stage.refuse_damaged(place, content)
            self.adapters.load(place)
        self._answer(given, answers, asked, content["training"])

    def finished(self) -> list[Path] | None:
        """The folders of all answers; None while other parts have work left."""
        folders = [self._answers(each) for each in self.adapted if each.questions]
        return folders if all(map(stage.read, [*self.places(), *folders])) else None

    def places(self) -> list[Path]:
        """The folders of the adapters of this command's documents, and of no others."""
        return [self.folder / "documents" / each.id / "adapter" for each in self.adapted]

    def _learnt(self, given: Given) -> dict[str, Any]:
        settings = plain(self.config)
        text = fingerprint([given.id, given.title, given.text, list(given.auxiliary)])
        limit = settings["answering"]["limit"]  # of the documents that questions are learnt after
        if not self.config.filters.needs_judge:
            settings["judge"] = {"name": "none"}  # it judges answers alone, and may come later
        return {"text": text, "limit": limit, **{key: settings[key] for key in LEARNT}}

    def _asked(self, given: Given) -> dict[str, Any]:
        """What answers follow from, beside the adapter."""
        settings = plain(self.config)["answering"]
        others = [[o.id, o.text] for o in self._others(given)]
        questions = [[q.id, q.text, list(q.answers), q.kind] for q in given.questions]
        return {
            "answering": settings, "questions": fingerprint([questions, others]),
            "adapter": fingerprint(self._learnt(given)),
        }  # fmt: skip

    def _answers(self, given: Given) -> Path:
        name = f"answers-{fingerprint(self._asked(given))[:8]}"
        return self.folder / "documents" / given.id / name

    def _others(self, given: Given) -> list[Given]:
        """The documents that come next, with questions."""
        number = self.config.answering.others
        if not number:
            return []
        at = next(i for i, each in enumerate(self.given) if each.id == given.id)
        order = self.given[at + 1 :] + self.given[:at]
        found = [each for each in order if each.questions][:number]
        if len(found) < number:
            raise ConfigError(
                f"answering.others={number}, but documents={self.config.documents.name} has"
                f" {len(found)} other documents with questions; lower it or add documents"
            )
        return found

    def _train(self, given: Given, place: Path, settings: dict[str, Any]) -> None:
        from fullcontext.adapt import training

        counted: Counter[str] = Counter()
        text = Text(given, self.prompt, counted)
        start = time.process_time()
        specials = self.prompt.encoder.specials
        written, usage = questioning.write(self.config, given, specials, counted)
        asking_s = time.process_time() - start
        pairs = [(each["question"], each["answer"]) for each in written]
        lessons = Lessons(self.config, given, text, pairs, self.rehearsal)
        if lessons.left_out:
            counted["tokens left out before auxiliary questions"] += lessons.left_out
        self.adapters.begin(given.id)
        done = training.train(self.model, self.config, lessons, self.device, self.stop)
        _write_lines(place / "lessons.jsonl", done.records)
        _write_lines(place / "auxiliary.jsonl", written)
        files = {"lessons.jsonl", "auxiliary.jsonl", *self.adapters.save(place)}
        training_facts = {
            "cpu_s": done.cpu_s, "wall_s": done.wall_s, "questions_cpu_s": asking_s,
            "tokens": done.tokens, "supervised": done.supervised, "steps": len(done.records),
            "weights": self.adapters.trained, "document_tokens": len(text.ids),
            "auxiliary": len(written), "usage": usage,
        }  # fmt: skip
        stage.finish(place, settings, sorted(files), training=training_facts, counted=dict(counted))

    def _answer(
        self, given: Given, place: Path, settings: dict[str, Any], training: dict[str, Any]
    ) -> None:
        from fullcontext.adapt.answering import Answering

        asking = Answering(self.model, self.config, self.prompt, self.device)
        modes: list[tuple[str, Given]] = [
            (mode.value, given) for mode in self.config.answering.modes
        ]
        modes += [("others", other) for other in self._others(given)]
        records: list[dict[str, Any]] = []
        costs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for adapted in (True, False) if self.config.answering.unadapted else (True,):
            for mode, about in modes:
                text = Text(about, self.prompt, Counter())
                if adapted:
                    found, cost = asking.ask(about, text, mode, adapted=True)
                    costs[mode].append(asdict(cost))
                else:
                    with self.adapters.without():
                        found, cost = asking.ask(about, text, mode, adapted=False)
                    costs[f"{mode}{accounts.UNADAPTED}"].append(asdict(cost))
                records += [{**record, "adapter": given.id} for record in found]
                self.stop.heed()
        _write_lines(place / "answers.jsonl", records)
        paid = training["cpu_s"] + training["questions_cpu_s"]
        spent = {mode: accounts.averaged(found) for mode, found in costs.items()}
        context = spent.get(f"{Mode.in_context}{accounts.UNADAPTED}")
        closed = spent.get(Mode.closed_book)
        pays = accounts.crossover(paid, context, closed) if context and closed else None
        facts = {
            "training": training, "questions_cpu_s": training["questions_cpu_s"], "modes": spent,
            "crossover": pays,
        }  # fmt: skip
        stage.finish(place, settings, ["answers.jsonl"], costs=facts)

    @cached_property
    def model(self) -> Any:
        """The model, once it is needed."""
        from fullcontext.model import load, sharding

        config = self.config
        weights = self.trained.weights if self.trained is not None else None
        made = load.load(config.model, config.positions, config.seed, weights)
        if self.trained is not None and weights is None:
            made = source.restore(made, self.trained.folder, None, 0)[0]
        sharding.recompute(made, config.checkpointing)
        return made.to(self.device)

    @cached_property
    def adapters(self) -> Any:
        """What the model has beside its own weights."""
        from fullcontext.adapt.adapters import Adapters

        return Adapters(self.model, self.config, self.device)

    @cached_property
    def rehearsal(self) -> Mixture | None:
        """Where rehearsal draws from."""
        config, store = self.config, None
        if not config.rehearsal.examples:
            return None
        if config.data.needs_store:
            from fullcontext.data import manifest, reader

            store = reader.open_store(config, manifest.tokenizer_hash(self.prompt.encoder))
        return Mixture(
            config.data, self.prompt, store, config.seed, config.rehearsal.examples, None
        )


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    write_aside(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
