"""What a rule is: a stable id, a reason people understand, the law it rests on, and a test."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from homebody_privacy.planned import PlannedLoss
from homebody_privacy.premises import BrokenPremise

from .findings import Level
from .values import EVERY, Op, at, holds, shown, wants

if TYPE_CHECKING:
    from homebody_privacy.config import PrivacyConfig

ID: Final = re.compile(r"[A-Z]{1,4}-[0-9]{3}")
"""Form of an id. Ids are never reused: reports of earlier years still name them."""

BASELINE: Final = "baseline"

_BROKEN: Final = {"<=": "above", ">=": "below", "==": "other than", "!=": "of", "in": "none of"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules look at. Public.

    Attributes:
        config: The config.
        values: Its JSON values.
        folder: Where the files it names are; None where they cannot be looked at.
        fewest: Devices there are at least, by the file and by enrolment.
        most: Devices there may be.
        broken: Premises that are broken.
        planned: What a run would cost; None where that is withheld or not known.
    """

    config: "PrivacyConfig"
    values: dict[str, Any]
    folder: Path | None
    fewest: int
    most: int
    broken: tuple[BrokenPremise, ...]
    planned: PlannedLoss | None


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a rule is broken, and why that matters."""

    path: str
    message: str


Judge: TypeAlias = Callable[[Facts], Iterable[Hit]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """One rule.

    Attributes:
        id: Stable id.
        paths: Fields it may name; ``*`` for every name of a table.
        fails_on: What it refuses, in few words: the line of the docs.
        ref: Law, standard or paper.
        judge: Finds where it is broken.
        level: Whether it refuses or warns.
        waivable: Whether a signed waiver may lift it; not where a premise or a legal bar is at
            stake.
        exit_code: Exit code of a check it refuses.
        source: ``baseline`` or the profile it belongs to.
        bound: Operation and value, of a rule that compares a field with a value.
    """

    id: str
    paths: tuple[str, ...]
    fails_on: str
    ref: str
    judge: Judge
    level: Level = "fail"
    waivable: bool = True
    exit_code: int = 10
    source: str = BASELINE
    bound: tuple[Op, object] | None = None

    def __post_init__(self) -> None:
        """Refuse an id of another form."""
        if ID.fullmatch(self.id) is None:
            raise ValueError(f"a rule's id looks like DP-005, got {self.id!r}")

    def covers(self, path: str) -> bool:
        """Tell whether a path, ``*`` allowed in it, is one of the rule's."""
        return any(_matches(own.split("."), path.split(".")) for own in self.paths)


def broken(path: str, actual: object, op: Op, wanted: object, why: str) -> Hit:
    """Return the hit of a value that is not as wanted."""
    return Hit(path, f"is {shown(actual)}, policy wants {wants(op, wanted)} - {why}")


def compared(facts: Facts, path: str, op: Op, wanted: object, why: str) -> Iterable[Hit]:
    """Compare every value at a path; what cannot be compared is broken."""
    try:
        for found, actual in at(facts.values, path):
            try:
                fine = holds(actual, op, wanted)
            except TypeError as error:
                yield Hit(found, f"cannot be judged, {error}: wants {wants(op, wanted)} - {why}")
                continue
            if not fine:
                yield broken(found, actual, op, wanted, why)
    except KeyError:
        yield Hit(path, f"is missing, policy wants {wants(op, wanted)} - {why}")


def limit(
    rule: str,
    path: str,
    op: Op,
    value: object,
    why: str,
    ref: str,
    **more: Any,  # noqa: ANN401 - further fields of Rule
) -> Rule:
    """Return a rule that compares a field with a value."""
    return Rule(
        id=rule,
        paths=(path,),
        fails_on=f"`{path}` {_BROKEN.get(op, 'without')} {shown(value)}: {why}",
        ref=ref,
        judge=lambda facts: compared(facts, path, op, value, why),
        bound=(op, value),
        **more,
    )


def premise(rule: str, paths: tuple[str, ...], fails_on: str, ref: str) -> Rule:
    """Return a rule that ``premises`` judges: nothing runs without, and no waiver lifts it."""
    return Rule(
        id=rule,
        paths=paths,
        fails_on=fails_on,
        ref=ref,
        judge=lambda facts: (Hit(b.path, b.why) for b in facts.broken if b.rule == rule),
        waivable=False,
    )


def _matches(own: list[str], other: list[str]) -> bool:
    if len(own) != len(other):
        return False
    return all(EVERY in (a, b) or a == b for a, b in zip(own, other, strict=True))
