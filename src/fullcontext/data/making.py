"""Makes a store: the walk of one process or part, and the finish."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fullcontext.config import ChatInstructions, Duplicates, SynthesizeConfig
from fullcontext.data import corpus, finishing, instructions, manifest
from fullcontext.data.asking import Interview
from fullcontext.data.crew import Crew
from fullcontext.data.decontaminate import Index
from fullcontext.data.duplicates import Seen
from fullcontext.data.progress import Show
from fullcontext.data.shards import Source, accepted_elsewhere, shard_name, work_path, write_work
from fullcontext.data.tokens import Encoder
from fullcontext.data.walk import Shard, Walk
from fullcontext.launch import StopFlag
from fullcontext.records import Question
from fullcontext.store import MANIFEST, write_aside, write_table

_ASKED = ("fine_grained", "integration", "short_context", "instruction")
_PER_SHARD = 20_000
"""Questions of an instruction set in one shard."""


class Stopped(Exception):
    """A signal asked to stop; its name is the text."""


class Maker:
    """One process at work on a store. `wanted` are the settings that the store depends on."""

    def __init__(
        self,
        config: SynthesizeConfig,
        folder: Path,
        encoder: Encoder,
        index: Index | None,
        wanted: dict[str, Any],
        stop: StopFlag,
    ) -> None:
        self.config, self.folder, self.encoder = config, folder, encoder
        self.index, self.wanted, self.stop = index, wanted, stop
        external = isinstance(config.instructions, ChatInstructions)
        self.quota = {
            kind: number
            for kind, number in config.data.examples.items()
            if kind in _ASKED and number and not (external and kind == "instruction")
        }
        self.documents = self.texts = 0
        self.shards: list[int] = []
        self.instruction_shards = 0
        self.dropped: Counter[str] = Counter()
        self.contaminated: list[dict[str, str]] = []

    def part(self) -> None:
        """Makes this part's shards, until the shards before them surely hold enough."""
        config = self.config
        self._begin()
        walk = Walk(self.quota, None)
        number = config.part

        def before_opening() -> None:
            nonlocal number
            walk.elsewhere = accepted_elsewhere(self.folder, number, config.part, config.parts)
            number += config.parts

        self._walk(walk, lambda shard: write_work(self.folder, shard), before_opening)
        write_aside(self._done(config.part), "")

    def unfinished(self) -> list[int]:
        """The parts that have not ended yet; none once the store is finished."""
        if (self.folder / MANIFEST).exists():
            return []
        return [part for part in range(self.config.parts) if not self._done(part).exists()]

    def _done(self, part: int) -> Path:
        return self.folder / "work" / f"part-{part}-of-{self.config.parts}.done"

    def whole(self) -> None:
        """Makes every shard that is not made yet, and finishes the store."""
        start = time.monotonic()
        self._begin()
        config = self.config
        duplicates = config.filters.duplicates is not Duplicates.off
        walk = Walk(self.quota, Seen(config.filters) if duplicates else None)
        crew = self._walk(walk, self._passed, None)
        walk.tally.made += self._instructions(walk)
        finishing.finish(self, walk.tally, crew.usage(), time.monotonic() - start)

    def _begin(self) -> None:
        begun = self.folder / "work" / "settings.json"
        if begun.exists() and any((self.folder / "work").glob("outcomes-*")):
            manifest.refuse_other(self.folder, json.loads(begun.read_text()), self.wanted)
        write_aside(begun, json.dumps(self.wanted))

    def _walk(self, walk: Walk, passed: Any, before_opening: Any) -> Crew:
        config = self.config
        crew = Crew(config, self.encoder.specials)
        crew.writer.prepare(corpus.read(config.corpus, config.seed, Counter()))
        kinds = [kind for kind in _ASKED if kind in self.quota]
        source = Source(config, self.folder, self.encoder, kinds, self.index)
        show = Show(walk, crew)

        async def interview() -> None:
            talk = Interview(walk, source, crew.ask, crew.writer.concurrency, passed, self.stop)
            if before_opening is not None:
                talk.part, talk.parts = config.part, config.parts
                talk.before_opening = before_opening
            try:
                await talk.run(show.look)
            finally:
                await crew.close()

        with show.progress:
            asyncio.run(interview())
        if self.stop.name:
            raise Stopped(self.stop.name)
        return crew

    def _passed(self, shard: Shard) -> None:
        """Keeps a shard that the walk has left: its outcomes, its questions, its counts."""
        if shard.changed or not work_path(self.folder, shard.number).exists():
            write_work(self.folder, shard)
        first = shard.counts["first"]
        self._write_questions(
            shard_name("questions", shard.number), shard.taken, lambda q: first[q.document]
        )
        self.documents += shard.documents
        self.texts += shard.counts["texts"]
        self.dropped.update(shard.counts["dropped"])
        self.dropped.update(shard.skipped)
        self.contaminated += shard.counts["contaminated"]
        self.shards.append(shard.number)

    def _write_questions(self, name: str, taken: list[Question], first: Any) -> None:
        rows = [{**asdict(question), "first": first(question)} for question in taken]
        write_table(self.folder / name, rows, manifest.QUESTION_SCHEMA)

    def _instructions(self, walk: Walk) -> Counter[str]:
        """Questions of an instruction set, after those of the corpus."""
        settings = self.config.instructions
        wanted = self.config.data.examples.get("instruction", 0)
        if not isinstance(settings, ChatInstructions) or not wanted:
            return Counter()
        drawn = wanted + wanted // 10 + 100  # some will be duplicates or contaminated
        skipped: Counter[str] = Counter()
        taken: list[Question] = []
        count = number = 0
        for question in instructions.read(settings, self.config.seed, drawn, skipped):
            if not self._is_welcome(walk, question, skipped):
                continue
            taken.append(question)
            count += 1
            if len(taken) == _PER_SHARD or count == wanted:
                name = shard_name("questions-instructions", number)
                self._write_questions(name, taken, lambda _: -1)
                taken, number = [], number + 1
            if count == wanted:
                break
        if taken:
            name = shard_name("questions-instructions", number)
            self._write_questions(name, taken, lambda _: -1)
            number += 1
        self.instruction_shards = number
        self.dropped.update(skipped)
        return Counter(instruction=count)

    def _is_welcome(self, walk: Walk, question: Question, skipped: Counter[str]) -> bool:
        text = f"{question.question}\n{question.answer}"
        if self.index and self.index.overlap(text):
            skipped["instruction: shares words with an evaluation set"] += 1
        elif any(special in text for special in self.encoder.specials):
            skipped["instruction: question or answer holds a special token"] += 1
        elif walk.seen and (reason := walk.seen.known(question.question, question.answer)):
            skipped[f"instruction: {reason}"] += 1
        else:
            return True
        return False
