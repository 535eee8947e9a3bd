"""What differs between two configs: each part of it with its direction, in plain words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from pydantic import BaseModel

from homebody_privacy.config import PrivacyConfig

from .fields import BOOKKEEPING, FIELDS, TABLES
from .meaning import Meaning
from .verdicts import Direction, Step

_SHOWN_DIGEST: Final = 12
_HEX_DIGEST: Final = 64
_ORDER: Final = tuple(Direction)


@dataclass(frozen=True, slots=True)
class Change:
    """One part of a difference. Public.

    Attributes:
        direction: Which way it goes, for the people it is about.
        text: What changed, in plain words.
        path: Field, dotted.
        reason: Why people must be asked again for it, as a code; empty if they need not be.
        about: The reason it would be, had it gone the weaker way; empty for none.
    """

    direction: Direction
    text: str
    path: str
    reason: str
    about: str


def changes(old: PrivacyConfig, new: PrivacyConfig) -> tuple[Change, ...]:
    """Return what differs: what is weaker first, then what is stronger, then the rest.

    Args:
        old: The config before.
        new: The config after.

    Returns:
        In the order of the schema within each direction. Fields that number the file are left out.
    """
    found = [*_of_table(old, new, "", "", "")]
    found = [_judged_whole(change, old, new) for change in found]
    return tuple(sorted(found, key=lambda change: _ORDER.index(change.direction)))


def _of_table(
    old: BaseModel, new: BaseModel, pattern: str, path: str, name: str
) -> Iterator[Change]:
    for field, about in type(old).model_fields.items():
        key = about.alias or field
        before, after = getattr(old, field), getattr(new, field)
        if before != after and f"{pattern}{key}" not in BOOKKEEPING:
            yield from _of_field(before, after, f"{pattern}{key}", f"{path}{key}", name)


def _of_field(
    before: object, after: object, pattern: str, path: str, name: str
) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            one, other = before.get(key), after.get(key)
            if one != other:
                yield from _of_field(one, other, f"{pattern}.*", f"{path}.{key}", key)
    elif isinstance(before, BaseModel) and isinstance(after, BaseModel):
        yield from _of_table(before, after, f"{pattern}.", f"{path}.", name)
    elif pattern in TABLES:
        yield from _whole(before, after, TABLES[pattern], path, name)
    else:
        meaning = FIELDS[pattern]
        for step in meaning.judge(before, after):
            yield _change(step, meaning, _words(step, meaning, path, name), path)


def _whole(
    before: object, after: object, meaning: Meaning, path: str, name: str
) -> Iterator[Change]:
    for step in meaning.judge(before, after):
        words = meaning.what if before is None else meaning.gone
        yield _change(step, meaning, words.format(name=name), path)


def _change(step: Step, meaning: Meaning, text: str, path: str) -> Change:
    asked = meaning.always or step.direction is Direction.WEAKER
    return Change(
        direction=step.direction,
        text=text,
        path=path,
        reason=meaning.reason if asked else "",
        about=meaning.reason,
    )


def _words(step: Step, meaning: Meaning, path: str, name: str) -> str:
    if step.item:
        words = meaning.gone if step.new is None else meaning.what
        item = step.old if step.new is None else step.new
        return words.format(name=name, item=item)
    what = path if meaning.gone else meaning.what.format(name=name)
    old, new = _shown(step.old), _shown(step.new)
    if old == new:  # they differ in digits that are not shown
        old, new = repr(step.old), repr(step.new)
    return f"{what}: {old} -> {new}"


def _shown(value: object) -> str:
    if value is None or value == "":
        return "left out"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    text = str(value)
    digest = len(text) == _HEX_DIGEST and set(text) <= set("0123456789abcdef")
    return text[:_SHOWN_DIGEST] if digest else text


def _judged_whole(change: Change, old: PrivacyConfig, new: PrivacyConfig) -> Change:
    """Judge a device's own limit by what it comes to: left out, it is the cap, or none."""
    if change.path != "dp.device_epsilon_max":
        return change
    meaning = FIELDS[change.path]
    (step,) = meaning.judge(_own_limit(old), _own_limit(new))
    return _change(step, meaning, change.text, change.path)


def _own_limit(config: PrivacyConfig) -> float:
    dp = config.dp
    if dp.device_epsilon_max is not None:
        return dp.device_epsilon_max
    return dp.epsilon_max if dp.mechanism == "blt" else inf


def count(found: Iterable[Change], direction: Direction) -> int:
    """Return how many changes go one way."""
    return sum(change.direction is direction for change in found)
