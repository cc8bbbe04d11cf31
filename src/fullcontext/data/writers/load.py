"""The writer of a config; what it needs is imported only here."""

from fullcontext.config import (
    FiltersConfig,
    LocalConfig,
    LocalWriter,
    OpenAIWriter,
    TemplateWriter,
    WriterConfig,
)
from fullcontext.data.filters import Format
from fullcontext.data.writers import Writer, prompts
from fullcontext.llm import Model
from fullcontext.store import fingerprint


def version(config: WriterConfig) -> str:
    """Changes whenever equal segments would give other questions; loads no model."""
    match config:
        case TemplateWriter():
            from fullcontext.data.writers import template

            return template.version(config.whole, config.onward)
        case OpenAIWriter() | LocalWriter():
            drawn = [config.temperature, config.top_p, config.max_new_tokens]
            return f"{model_name(config)}-{fingerprint([prompts.VERSION, *drawn])}"
        case _:
            raise AssertionError(f"no writer for {type(config).__name__}")


def model_name(config: OpenAIWriter | LocalConfig) -> str:
    """The model behind a writer."""
    return config.path if isinstance(config, LocalConfig) else config.model


def load(
    config: WriterConfig, model: Model | None, filters: FiltersConfig, specials: tuple[str, ...]
) -> Writer:
    """The writer; `model` is what the config's endpoint or folder gives, None for `template`."""
    match config:
        case TemplateWriter():
            from fullcontext.data.writers.template import Template

            return Template(config.whole, config.onward)
        case OpenAIWriter() | LocalWriter():
            from fullcontext.data.writers.prompted import Prompted

            assert model is not None
            several = (
                config.concurrency if isinstance(config, OpenAIWriter) else (4 * config.batch_size)
            )
            formats = Format(filters, specials) if filters.format else None
            return Prompted(model, config, several, formats, version(config))
        case _:
            raise AssertionError(f"no writer for {type(config).__name__}")
