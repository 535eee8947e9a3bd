"""How a change of one value is judged: by an order, a set, or not at all.

A judge is given the old and the new value and says in which direction each part of the change goes.
All are antisymmetric: with old and new exchanged, weaker becomes stronger and back.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias


class Direction(StrEnum):
    """Which way a change goes, for the people it is about."""

    WEAKER = "WEAKER"
    STRONGER = "stronger"
    CHANGED = "CHANGED"

    @property
    def turned(self) -> "Direction":
        """The direction of the way back."""
        return _TURNED[self]


_TURNED = {
    Direction.WEAKER: Direction.STRONGER,
    Direction.STRONGER: Direction.WEAKER,
    Direction.CHANGED: Direction.CHANGED,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a change: ``old`` became ``new``; an item that came or went has None opposite.

    Attributes:
        direction: Which way it goes.
        old: The value before; None if it was added to a set.
        new: The value after; None if it was taken out of a set.
        item: Whether the values are items of a set.
    """

    direction: Direction
    old: object
    new: object
    item: bool = False


Judge: TypeAlias = Callable[[Any, Any], Iterable[Step]]


def more_is(
    direction: Direction, *, nothing: float | None = None, zero: float | None = None
) -> Judge:
    """Return a judge of numbers, and of flags, in which true is more.

    Args:
        direction: Of a value that grows.
        nothing: The number a field that is left out stands for; None for none: then a value that
            comes or goes is just another.
        zero: The number that 0 stands for, where 0 means never.
    """

    def meant(value: float | None) -> float | None:
        if value is None:
            return nothing
        return zero if zero is not None and value == 0 else value

    def judge(old: Any, new: Any) -> Iterable[Step]:  # noqa: ANN401 - a number, a flag or None
        before, after = meant(old), meant(new)
        if before is None or after is None or before == after:
            return [Step(Direction.CHANGED, old, new)]
        return [Step(direction if after > before else direction.turned, old, new)]

    return judge


def ranked(ranks: Mapping[object, int]) -> Judge:
    """Return a judge of words: a higher rank is stronger, an equal one or none just another.

    Args:
        ranks: Rank by word; words that compare with no other are left out.
    """

    def judge(old: Any, new: Any) -> Iterable[Step]:  # noqa: ANN401 - a value of the field
        before, after = ranks.get(old), ranks.get(new)
        if before is None or after is None or before == after:
            return [Step(Direction.CHANGED, old, new)]
        return [Step(Direction.STRONGER if after > before else Direction.WEAKER, old, new)]

    return judge


def given(direction: Direction) -> Judge:
    """Return a judge of references that may be left out, or empty.

    Args:
        direction: Of one that was missing and is given; another reference is just another.
    """

    def judge(old: Any, new: Any) -> Iterable[Step]:  # noqa: ANN401 - a text or None
        if bool(old) == bool(new):
            return [Step(Direction.CHANGED, old, new)]
        return [Step(direction if new else direction.turned, old, new)]

    return judge


def items(added: Direction, *, empty_is_all: bool = False) -> Judge:
    """Return a judge of sets, item by item; an order alone is just another.

    Args:
        added: Direction of an item that is added.
        empty_is_all: Whether a set without items stands for every item there is.
    """

    def judge(old: Any, new: Any) -> Iterable[Step]:  # noqa: ANN401 - tuples of texts
        if empty_is_all and (not old or not new):
            return [Step(added.turned if new else added, old, new)]
        steps = [Step(added, None, item, item=True) for item in new if item not in old]
        steps += [Step(added.turned, item, None, item=True) for item in old if item not in new]
        return steps or [Step(Direction.CHANGED, old, new)]

    return judge


def changed(old: object, new: object) -> Iterable[Step]:
    """Judge a value that is neither weaker nor stronger than another."""
    return [Step(Direction.CHANGED, old, new)]
