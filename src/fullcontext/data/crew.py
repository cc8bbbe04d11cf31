"""Who writes and judges in one process: models, their memory of replies, what they cost."""

import logging
from pathlib import Path
from typing import Any

from fullcontext import llm
from fullcontext.config import AdaptConfig, EndpointConfig, LocalConfig, SynthesizeConfig
from fullcontext.data import questions
from fullcontext.data.filters import Filters, Judge
from fullcontext.data.questions import Outcome
from fullcontext.data.writers import Asking, Writer
from fullcontext.data.writers.load import load

_TALKATIVE = ("httpx", "httpx2", "openai")
"""Loggers that say a line a request."""


class Crew:
    """The writer and the filters of a config, ready to ask."""

    def __init__(self, config: SynthesizeConfig | AdaptConfig, specials: tuple[str, ...]) -> None:
        from fullcontext.llm.meter import Meter

        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.config = config
        self.meters: dict[str, Meter] = {}
        self._models: list[llm.Model] = []
        model = self._model(config.writer, "writer")
        self.writer: Writer = load(config.writer, model, config.filters, specials)
        judging = self._model(config.judge, "judge") if config.filters.needs_judge else None
        judge = None
        if judging is not None:
            judge = Judge(judging, config.judge, config.filters.same_answer)
        self.filters = Filters(config.filters, specials, judge)

    def _model(self, settings: Any, group: str) -> llm.Model | None:
        if not isinstance(settings, EndpointConfig | LocalConfig):
            return None
        from fullcontext.llm.cache import Remembered
        from fullcontext.llm.meter import Meter

        config = self.config
        meter = self.meters[group] = Meter(settings, group, config.parts)
        model = llm.load(settings, group, meter)
        remembered = Remembered(model, Path(config.answers), str(config.part), meter)
        self._models.append(remembered)
        return remembered

    async def ask(self, asking: Asking) -> Outcome:
        """One asking, from the writer through the filters."""
        return await questions.ask(asking, self.writer, self.filters, self.config.seed)

    async def close(self) -> None:
        """Lets go of connections and files."""
        for model in self._models:
            await model.close()

    def usage(self) -> dict[str, Any]:
        """What each model was asked and what it cost; empty where there is none."""
        return {group: meter.summary() for group, meter in self.meters.items()}

    def line(self) -> str:
        """The same for a progress bar."""
        return "; ".join(f"{group}: {meter.line()}" for group, meter in self.meters.items())
