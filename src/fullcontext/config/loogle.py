"""LooGLE (arXiv 2311.04939) as documents with questions: which of its tasks, and from where."""

from dataclasses import dataclass, field

from fullcontext.config import check
from fullcontext.config.adapting import DocumentsConfig

LOOGLE_TASKS = ("shortdep_qa", "longdep_qa", "shortdep_cloze", "summarization")
"""Files of a folder, and configs of the hub's data set."""
LONG_KINDS = ("comprehension_reasoning", "multiple_retrieval", "computation", "timeline")
"""What longdep_qa says a question takes; one that says nothing, or something else, is `long`."""
KINDS_OF_TASK = {
    "shortdep_qa": ("short",),
    "longdep_qa": (*LONG_KINDS, "long"),
    "shortdep_cloze": ("cloze",),
    "summarization": ("summary",),
}
LOOGLE_KINDS = tuple(kind for kinds in KINDS_OF_TASK.values() for kind in kinds)


@dataclass(kw_only=True)
class LoogleDocuments(DocumentsConfig):
    """LooGLE: articles, scripts and papers of 24,000 tokens on average, with their questions."""

    name: str = "loogle"
    path: str | None = None
    """Folder with a .jsonl file of each task; null reads `hub`."""
    hub: str = "bigai-nlco/LooGLE"
    """Data set of the Hugging Face hub, with a config of each task."""
    tasks: list[str] = field(default_factory=lambda: ["shortdep_qa", "longdep_qa"])
    """The default are those of LIFT; the others are shortdep_cloze and summarization."""
    kinds: list[str] = field(default_factory=lambda: list(LOOGLE_KINDS))
    """Kinds of questions that are asked: short, comprehension_reasoning, multiple_retrieval,
    computation, timeline, long (of no known kind), cloze, summary."""
    max_documents: int | None = None
    """The first so many distinct ones."""

    def __post_init__(self) -> None:
        check.within("documents.max_documents", self.max_documents, 1)
        for task in self.tasks:
            check.one_of("documents.tasks", task, LOOGLE_TASKS)
        for kind in self.kinds:
            check.one_of("documents.kinds", kind, LOOGLE_KINDS)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(
                f"documents.tasks={self.tasks} names none, or one twice; choose from"
                f" {', '.join(LOOGLE_TASKS)}"
            )
        for task in self.tasks:
            if not set(KINDS_OF_TASK[task]) & set(self.kinds):
                raise ValueError(
                    f"documents.tasks has {task}, and documents.kinds={self.kinds} none of its"
                    f" kinds ({', '.join(KINDS_OF_TASK[task])}); leave the task out or add one"
                )
