"""Data quality on the device: events too odd to learn from are named and put aside.

===============  =========================================================================
problem          when
===============  =========================================================================
duplicate        its ``event_id`` was seen before
clock_skew       it happened more than five minutes after now, or before the year 2000
negative_price   its price is below zero
too_many_views   more than 1,000 views in the sixty seconds up to it: a script, not a person
===============  =========================================================================
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .event import Event

SKEW_S: Final = 300
"""How far ahead an event may be before it says that a clock is wrong."""

MOST_VIEWS: Final = 1_000
"""Most views of one minute."""

_MINUTE_S: Final = 60.0
_EPOCH_S: Final = 946_684_800  # 2000-01-01: earlier means a clock that lost its battery
VIEWS: Final = frozenset({"impression", "product_view"})


class Problem(StrEnum):
    """What is wrong with an event. Public."""

    DUPLICATE = "duplicate"
    CLOCK_SKEW = "clock_skew"
    NEGATIVE_PRICE = "negative_price"
    TOO_MANY_VIEWS = "too_many_views"

    @property
    def sentence(self) -> str:
        """Say it to a person."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Problem.DUPLICATE: "This event was recorded before.",
    Problem.CLOCK_SKEW: "The clock that wrote this event was wrong.",
    Problem.NEGATIVE_PRICE: "The price of this event is below zero.",
    Problem.TOO_MANY_VIEWS: "More views in a minute than a person can make.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and how far back it reaches.

    Attributes:
        problem: What is wrong.
        since: Unix seconds; for ``too_many_views`` the views from here on are suspect too, those
            accepted before the limit was passed included. For others the time of the event.
    """

    problem: Problem
    since: float = field(repr=False)


@dataclass(frozen=True, slots=True)
class Screened:
    """Events, sorted out.

    Attributes:
        clean: Those to learn from, in their order. Secret.
        quarantined: The others, each with its problem. Secret.
    """

    clean: tuple[Event, ...] = field(repr=False)
    quarantined: tuple[tuple[Event, Problem], ...] = field(repr=False)


class Screen:
    """Looks at events one after another, in the order they are recorded.

    Args:
        remember: How many event ids are kept to notice a repeat, at least 1.
    """

    __slots__ = ("_ids", "_remember", "_views")

    def __init__(self, *, remember: int = 10_000) -> None:
        """Start with nothing seen."""
        if remember < 1:
            raise ValueError("remember must be at least 1")
        self._remember = remember
        self._ids: dict[str, None] = {}
        self._views: deque[float] = deque()

    def check(self, event: Event, *, now: float) -> Finding | None:
        """Return what is wrong with an event; None if it is to be learned from."""
        if self._is_known(event.event_id):
            return Finding(Problem.DUPLICATE, event.timestamp)
        if event.timestamp - now > SKEW_S or event.timestamp < _EPOCH_S:
            return Finding(Problem.CLOCK_SKEW, event.timestamp)
        if event.fields.get("price", 0) < 0:
            return Finding(Problem.NEGATIVE_PRICE, event.timestamp)
        if event.event in VIEWS:
            return self._crowd(event.timestamp)
        return None

    def _is_known(self, event_id: str) -> bool:
        if event_id in self._ids:
            return True
        self._ids[event_id] = None
        if len(self._ids) > self._remember:
            del self._ids[next(iter(self._ids))]
        return False

    def _crowd(self, at: float) -> Finding | None:
        """Return a finding if the latest views, in whatever order they came, lie in one minute."""
        views = self._views
        views.append(at)
        if len(views) > MOST_VIEWS + 1:
            views.popleft()
        if len(views) <= MOST_VIEWS or abs(at - views[0]) >= _MINUTE_S:
            return None
        first = min(views)
        return Finding(Problem.TOO_MANY_VIEWS, first) if max(views) - first < _MINUTE_S else None


def screen(events: Iterable[Event], *, now: float) -> Screened:
    """Sort out many events at once; a burst of views is put aside whole, its beginning included."""
    checker = Screen()
    found: list[tuple[Event, Problem | None]] = []
    bursts: list[tuple[float, float]] = []
    for event in events:
        finding = checker.check(event, now=now)
        found.append((event, finding.problem if finding else None))
        if finding is not None and finding.problem is Problem.TOO_MANY_VIEWS:
            bursts.append((finding.since, event.timestamp))
    for at, (event, problem) in enumerate(found):
        if problem is None and event.event in VIEWS and _within(event.timestamp, bursts):
            found[at] = (event, Problem.TOO_MANY_VIEWS)
    return Screened(
        tuple(event for event, problem in found if problem is None),
        tuple((event, problem) for event, problem in found if problem is not None),
    )


def _within(at: float, spans: list[tuple[float, float]]) -> bool:
    return any(low <= at <= high for low, high in spans)
