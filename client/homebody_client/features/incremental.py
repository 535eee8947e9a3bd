"""Features kept up to date row by row: the same values as ``compute``, without all the rows.

What is kept is a running sum per feature. Counts and money are whole numbers, hence exact.
Decaying sums are kept as of one moment and moved on when asked; what rounding leaves is far below
1e-6, for a spec limits how much its window decays, and a category without rows is forgotten.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from .batch import decay, liked_shares, session_value, shares
from .readings import LABELS, MILLIONTHS, category, liking, money
from .spec import DAY_S, SESSION_GAP_S, FeatureSpec, Row, Value
from .window import Entry, Neighbours, Window


class Incremental:
    """Several features, kept up to date.

    Args:
        specs: What to compute; names must differ.
    """

    __slots__ = ("_running",)

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        """Start with no rows."""
        self._running = {spec.name: _KINDS.get(spec.kind, _Labels)(spec) for spec in specs}
        if len(self._running) != len(specs):
            raise ValueError("two specs have one name")

    def update(self, row: Row) -> None:
        """Take one row in. It may be late, as long as the window has not passed it."""
        for running in self._running.values():
            if running.spec.reads(row):
                running.window.add(Entry(row.at, row.values))

    def value(self, name: str, at: float) -> Value:
        """Return a feature's value at a time, which may not go back.

        Raises:
            ValueError: If there is no such feature, or ``at`` is before an earlier call's.
        """
        running = self._running.get(name)
        if running is None:
            raise ValueError("no feature of that name")
        running.window.move(at)
        return running.value(at)


class _Running(Protocol):
    spec: FeatureSpec
    window: Window

    def value(self, at: float) -> Value: ...


class _Counts:
    """Recency, frequency and role: the window itself is the state."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.window = Window(spec.window_s, _nothing, _nothing)

    def value(self, at: float) -> Value:
        if self.spec.kind == "frequency":
            return float(len(self.window))
        newest_first = self.window.newest_first()
        if self.spec.kind == "recency":
            newest = next(newest_first, None)
            return (at - newest.at) / DAY_S if newest else float(self.spec.window_days)
        label = LABELS["role"]
        role = next((name for entry in newest_first if (name := label(entry.values))), None)
        return {} if role is None else {role: 1.0}


class _Money:
    """Sums by currency, in millionths."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.window = Window(spec.window_s, self._enter, self._leave)
        self._rows: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()

    def value(self, _: float) -> Value:
        return {name: self._sums[name] / MILLIONTHS for name in sorted(self._sums)}

    def _enter(self, entry: Entry, _: Neighbours) -> None:
        spent = money(entry.values)
        if spent is not None:
            self._rows[spent[0]] += 1
            self._sums[spent[0]] += spent[1]

    def _leave(self, entry: Entry, _: Neighbours) -> None:
        spent = money(entry.values)
        if spent is not None:
            self._sums[spent[0]] -= spent[1]
            _forget_one(spent[0], self._rows, self._sums)


class _Affinity:
    """Decaying sums by category, as of ``_moment``."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.window = Window(spec.window_s, self._enter, self._leave)
        self._moment = 0.0
        self._rows: Counter[str] = Counter()
        self._sums: dict[str, float] = {}

    def value(self, at: float) -> Value:
        self._move(at)
        return liked_shares(self._sums)

    def _move(self, to: float) -> None:
        factor = decay(self.spec, to - self._moment) if self._sums else 1.0
        self._sums = {name: liked * factor for name, liked in self._sums.items()}
        self._moment = to

    def _enter(self, entry: Entry, _: Neighbours) -> None:
        liked = liking(entry.values)
        if liked is not None:
            name, weight = liked
            if entry.at > self._moment:
                self._move(entry.at)
            counts = weight * decay(self.spec, self._moment - entry.at)
            self._rows[name] += 1
            self._sums[name] = self._sums.get(name, 0.0) + counts

    def _leave(self, entry: Entry, _: Neighbours) -> None:
        liked = liking(entry.values)
        if liked is not None:
            name, weight = liked
            self._sums[name] -= weight * decay(self.spec, self._moment - entry.at)
            _forget_one(name, self._rows, self._sums)


class _Labels:
    """Counts of labels: hours, bands of price, devices."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.window = Window(spec.window_s, self._enter, self._leave)
        self._label = LABELS[spec.kind]
        self._counts: Counter[str] = Counter()

    def value(self, _: float) -> Value:
        return shares(self._counts)

    def _enter(self, entry: Entry, _: Neighbours) -> None:
        name = self._label(entry.values)
        if name:
            self._counts[name] += 1

    def _leave(self, entry: Entry, _: Neighbours) -> None:
        name = self._label(entry.values)
        if name:
            self._counts[name] -= 1


class _Sessions:
    """The number of pauses long enough to end a session."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.window = Window(spec.window_s, self._enter, self._leave)
        self._pauses = 0

    def value(self, at: float) -> Value:
        names: Counter[str] = Counter()
        events, end = 0, at
        for entry in self.window.newest_first():
            if end - entry.at > SESSION_GAP_S:
                break
            events, end = events + 1, entry.at
            name = category(entry.values)
            if name:
                names[name] += 1
        seconds = at - end if events else 0.0
        return session_value(self._pauses + bool(len(self.window)), events, seconds, shares(names))

    def _enter(self, entry: Entry, beside: Neighbours) -> None:
        self._pauses += _pause(beside.before, entry) + _pause(entry, beside.after)
        self._pauses -= _pause(beside.before, beside.after)

    def _leave(self, entry: Entry, beside: Neighbours) -> None:
        self._pauses -= _pause(entry, beside.after)


def _pause(before: Entry | None, after: Entry | None) -> int:
    """Return 1 if a session ends between two entries."""
    if before is None or after is None:
        return 0
    return int(after.at - before.at > SESSION_GAP_S)


def _nothing(_: Entry, __: Neighbours) -> None:
    """Keep no sum."""


def _forget_one(name: str, rows: Counter[str], sums: dict[str, float] | Counter[str]) -> None:
    """Count one row less; without rows nothing of a name is left, not even rounding."""
    rows[name] -= 1
    if not rows[name]:
        del rows[name], sums[name]


_KINDS: Final[dict[str, Callable[[FeatureSpec], _Running]]] = {
    "recency": _Counts,
    "frequency": _Counts,
    "role": _Counts,
    "monetary": _Money,
    "category_affinity": _Affinity,
    "session": _Sessions,
}
