"""VaL's forward probe: which label and description belong to an id (IN2, section 3).

The entities are the countries, their subdivisions and the languages of `pycountry`. Thousands
share a description ("Municipality in Slovenia"), and VaL's metric accepts the description alone:
such entities are numbered, so that no other entity's answer scores.
"""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from fullcontext.probe.items import Item
from fullcontext.randomness import rng

QUESTION = (
    "In above context , what is the label and description for the query where the id is {id} ?"
)
LEAST_LABEL = 4
"""Characters; shorter labels are parts of too many words."""

_GOLD = "label: {label}, description: {description}"
_BETWEEN = ", description: "
_TYPES = {"L": "Living", "E": "Extinct", "H": "Historical", "C": "Constructed", "S": "Special"}


class Entity(NamedTuple):
    """A row of the database."""

    id: str
    label: str
    description: str


def candidates(seed: int, index: int) -> Iterator[Item]:
    """Entities in the order of context `index`, each once."""
    pool = _pool()
    for i in rng(seed, "database probe", index).permutation(len(pool)):
        yield item(pool[i])


def item(entity: Entity) -> Item:
    """An entity as it stands in a context, in the release's words."""
    gold = answer(entity.label, entity.description)
    question = QUESTION.format(id=entity.id)
    return Item(f"<id: {entity.id}, {gold}>", entity.id, question, gold)


def answer(label: str, description: str) -> str:
    """The right answer, as one is expected to put it."""
    return _GOLD.format(label=label, description=description)


def parts(gold: str) -> tuple[str, str]:
    """Label and description of a gold answer."""
    label, description = gold.removeprefix("label: ").split(_BETWEEN, 1)
    return label, description


@lru_cache(maxsize=1)
def _pool() -> tuple[Entity, ...]:
    entities = [*_countries(), *_subdivisions(), *_languages()]
    shared = Counter(entity.description for entity in entities)
    seen: Counter[str] = Counter()
    numbered = []
    for id, label, description in entities:
        seen[description] += 1
        count = shared[description]
        place = f" ({seen[description]} of {count})" if count > 1 else ""
        numbered.append(Entity(id, label, description + place))
    return tuple(entity for entity in numbered if _is_plain(entity))


def _is_plain(entity: Entity) -> bool:
    template = _GOLD.format(label="", description="")
    return len(entity.label) >= LEAST_LABEL and not (
        entity.label.lower() in template or any(mark in entity.label for mark in "<>,:\n")
    )


def _countries() -> list[Entity]:
    import pycountry

    return [
        Entity(f"C-{country.alpha_3}", country.name, f"Country with the number {country.numeric}")
        for country in pycountry.countries
    ]


def _subdivisions() -> list[Entity]:
    import pycountry

    names = {country.alpha_2: country.name for country in pycountry.countries}
    return [
        Entity(each.code, each.name, f"{each.type} in {names[each.country_code]}")
        for each in sorted(pycountry.subdivisions, key=lambda each: each.code)
    ]


def _languages() -> list[Entity]:
    import pycountry

    return [
        Entity(f"L-{language.alpha_3}", language.name, f"{_TYPES[language.type]} language")
        for language in pycountry.languages
    ]


def clash(one: Item, other: Item) -> bool:
    """Whether `other` holds the id of `one`, its label or its description."""
    text = other.text.lower()
    return one.mark in other.text or any(accepted in text for accepted in accepted_parts(one.gold))


@lru_cache(maxsize=16384)
def accepted_parts(gold: str) -> tuple[str, str]:
    """What VaL's metric looks for: label and description, without outer dots, lower-cased."""
    label, description = parts(gold)
    return label.strip(".").lower(), description.strip(".").lower()
