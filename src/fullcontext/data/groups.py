"""Questions of one optimizer step that share a context."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fullcontext.data.table import Stored
from fullcontext.records import Asked

SHAREABLE = ("fine_grained", "integration")
"""The kinds whose contexts are assembled; the others have contexts of their own or none."""


@dataclass(frozen=True, slots=True)
class Posed:
    """A question on its way into a context."""

    index: int
    """Its example id."""
    turn: int
    """How many of its kind came before."""
    stored: Stored
    asked: Asked


@dataclass(slots=True)
class Group:
    """The questions of one context, the first of which gives the context its length and seed."""

    posed: list[Posed]
    notes: list[str] = field(default_factory=list)


def gather(
    posed: Sequence[Posed],
    shared: int,
    clash: Callable[[Posed, Posed], bool],
    fits: Callable[[Sequence[Posed]], bool],
) -> list[Group]:
    """Groups of at most `shared` questions in their order; each question is in one.

    A question that clashes with one of the group waits for the next. One whose evidence does not
    fit beside the others' waits, too, and that is noted.
    """
    groups: list[Group] = []
    waiting = list(posed)
    while waiting:
        group = Group([waiting[0]])
        later: list[Posed] = []
        for each in waiting[1:]:
            if len(group.posed) == shared or any(clash(each, other) for other in group.posed):
                later.append(each)
            elif not fits([*group.posed, each]):
                group.notes.append(
                    f"{each.stored.question.kind}: waits, since its evidence does"
                    " not fit into a shared context"
                )
                later.append(each)
            else:
                group.posed.append(each)
        groups.append(group)
        waiting = later
    return groups
