"""Rows that come from a hand or a file instead of an event: what of them can be kept.

What an event may hold is checked when it is parsed. A corrected row and a row of an export have to
pass the same: a value no list can be made from, or one that is never to be kept, would stay.
"""

import math
from collections.abc import Mapping
from typing import Final

from homebody_client.events.vocabulary import EVENTS, FIELDS
from homebody_client.store import Value
from homebody_models.catalog import ItemCatalog
from homebody_privacy.consent_terms import GroupTerms

_HOURS: Final = range(24)
_LONGEST: Final = 128
_NUMBERS: Final = frozenset({"timestamp", "day", "weight"})


def problem_of(values: Mapping[str, Value]) -> str | None:
    """Say what is wrong with the values of a row, without showing one; None if nothing is."""
    for name, value in values.items():
        problem = _problem(name, value)
        if problem is not None:
            return f"field {name} {problem}"
    return None


def is_never_kept(
    values: Mapping[str, Value], group: GroupTerms, catalog: ItemCatalog | None
) -> bool:
    """Return whether a row holds a value its group excludes, or is about a product that has it."""
    held = {(name, _plain(value)) for name, value in values.items()}
    index = None if catalog is None else catalog.index.get(str(values.get("product_id")))
    if catalog is not None and index is not None:
        held.add(("category", _plain(catalog.category(index))))
        held |= {("topic", _plain(topic)) for topic in catalog.topics(index)}
    never = (pair.partition(":") for pair in group.exclude)
    return any((name, _plain(value)) in held for name, _, value in never)


def _problem(name: str, value: Value) -> str | None:
    if value is None:
        return None
    if name == "event":
        return None if value in EVENTS else "must be one of the vocabulary"
    if name == "hour":
        return None if type(value) is int and value in _HOURS else "must be from 0 to 23"
    if name in _NUMBERS:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and math.isfinite(value) else "must be a finite number"  # type: ignore[arg-type]
    if name in FIELDS:
        return FIELDS[name].problem(value)
    fits = isinstance(value, str) and len(value) <= _LONGEST
    return None if fits else f"must be text of at most {_LONGEST} characters"


def _plain(value: object) -> str:
    return str(value).strip().casefold()
