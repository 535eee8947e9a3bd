"""What consent must come to, written from the rules alone: the oracle of the random walk.

It shares no code with the book. It knows what was said and when, and answers three questions after
each step: which pairs are open, which rows may be on the disk, which tickets may still be used.
"""

import copy
from dataclasses import dataclass, field
from itertools import count

DAY = 86_400.0
SLACK = 60.0
MIN_AGE = {"under_13": 0, "13_15": 13, "16_17": 16, "18_plus": 18}


@dataclass
class World:
    """The rules of one config, as plain tables."""

    revision: int
    policy: int
    leaves: dict[str, bool]
    requires: dict[str, tuple[str, ...]]
    allow: dict[str, frozenset[str]]  # purpose -> feature groups
    expiry: float
    grace: float
    refusal: float
    ttl: dict[str, float]
    min_age: int = 16


@dataclass
class Said:
    """Where one purpose stands: ``yes``, ``waits`` for a new yes, or ``no``."""

    status: str
    number: int
    features: frozenset[str] = frozenset()
    until: float = 0.0
    waits_until: float = 0.0
    policy: int = 0
    over: bool = False
    since: dict[str, float] = field(default_factory=dict)
    kept_until: float = 0.0  # a no of the person is not asked again before


@dataclass
class Used:
    """A ticket as the oracle remembers it."""

    purpose: str
    features: tuple[str, ...]
    numbers: dict[str, int]
    revision: int


class Oracle:
    """The rules, one method for each thing that can happen."""

    def __init__(self, world: World, now: float) -> None:
        """Begin with nothing said."""
        self.world = world
        self.approved = True
        self.now = now
        self.last = now
        self.said: dict[str, Said] = {}
        self.rows: dict[str, list[float]] = {}
        self.holders: dict[str, set[str]] = {}  # feature -> purposes whose key opens its rows
        self.restricted = False
        self.age: str | None = None
        self.signals: dict[str, bool | None] = {}
        self.known: dict[str, bool] = {}
        self.broken: float | None = None
        self._numbers = count(1)

    def copy(self) -> "Oracle":
        """Return a copy; numbers go on from where they are."""
        return copy.deepcopy(self)

    @property
    def time(self) -> float:
        """The time in force."""
        return max(self.now, self.last)

    def signal_on(self) -> bool:
        """Whether any opt-out signal is on."""
        return True in self.signals.values()

    # Questions.

    def is_open(self, purpose: str, feature: str) -> bool:
        """Whether a pair may be used now."""
        return (
            purpose in self.world.allow
            and feature in self.world.allow[purpose]
            and feature in self._said(purpose).features
            and self.holds(purpose)
        )

    def holds(self, purpose: str) -> bool:
        """Whether a purpose is on, whatever the feature."""
        said = self._said(purpose)
        if self.broken is not None or not self.approved or self.restricted:
            return False
        if purpose not in self.world.allow or said.status != "yes" or self.time >= said.until:
            return False
        if self.now < self.last - SLACK or said.policy != self.world.policy:
            return False
        if self.world.leaves[purpose]:
            if self.age is None or MIN_AGE[self.age] < self.world.min_age:
                return False
            if None in self.signals.values() or (self.signal_on() and not said.over):
                return False
        return all(self.holds(other) for other in self.world.requires[purpose])

    def is_fresh(self, used: Used) -> bool:
        """Whether a ticket may still be used."""
        return (
            used.revision == self.world.revision
            and all(self.is_open(used.purpose, feature) for feature in used.features)
            and all(self._said(name).number == number for name, number in used.numbers.items())
        )

    def may_grant(self, purpose: str, features: frozenset[str], *, over: bool) -> bool:
        """Whether a yes can be taken; what is in doubt would be set right first."""
        world = self.world
        if not self.approved or purpose not in world.allow or not features <= world.allow[purpose]:
            return False
        if self.restricted:
            return False
        if world.leaves[purpose]:
            if self.age is None or MIN_AGE[self.age] < world.min_age:
                return False
            if None in self.signals.values() or (self.signal_on() and not over):
                return False
        doubt = self.broken is not None or self.now < self.last - SLACK
        needed = world.requires[purpose]
        return not needed if doubt else all(self.holds(other) for other in needed)

    def may_ask(self, purpose: str) -> bool:
        """Whether the person may be asked again."""
        said = self._said(purpose)
        return not (said.status == "no" and self.time < said.kept_until)

    def used(self, purpose: str, features: tuple[str, ...]) -> Used:
        """Return a ticket for what is open now."""
        needed = (purpose, *self._above(purpose))
        numbers = {name: self._said(name).number for name in needed}
        return Used(purpose, features, numbers, self.world.revision)

    def visible(self, purpose: str, feature: str) -> int:
        """How many rows of an open pair the purpose may see."""
        since = self._said(purpose).since[feature]
        return sum(at >= since for at in self.rows.get(feature, []))

    # What happens.

    def grant(self, purpose: str, features: frozenset[str], *, over: bool) -> None:
        """Take a yes."""
        self.set_right(clock=True)
        self.settle()
        old = self._said(purpose)
        waited = old.status == "waits" and self.time < old.waits_until
        again = old.status == "yes" or waited
        kept = old.since if again else {}
        self.said[purpose] = Said(
            status="yes",
            number=next(self._numbers),
            features=features,
            until=self.time + self.world.expiry,
            policy=self.world.policy,
            over=over and self.world.leaves[purpose] and self.signal_on(),
            since={f: kept.get(f, self.time) for f in features},
        )
        self.data_follows()

    def withdraw(self, purpose: str, *, refused: bool = False) -> None:
        """A no of the person: erased at once, frozen or not."""
        self.set_right(clock=False)
        self.settle()
        old = self._said(purpose)
        if old.status == "no" and not (refused or not old.number):
            return
        gone = {purpose} | {p for p in self.said if purpose in self._above(p)}
        for name in gone:
            said = self._said(name)
            if said.status in ("yes", "waits") or name == purpose:
                self._end(name, "no")
                for holders in self.holders.values():
                    holders.discard(name)
        self.said[purpose].kept_until = self.time + self.world.refusal
        self.data_follows()

    def restrict(self) -> None:
        """Freeze processing."""
        if not self.restricted:
            self.set_right(clock=False)
            self.settle()
            self.restricted = True

    def lift(self) -> None:
        """Lift the freeze."""
        if self.restricted:
            self.set_right(clock=False)
            self.restricted = False
            self.tick()

    def erase(self) -> None:
        """Erase all data."""
        self.set_right(clock=False)
        for name, said in self.said.items():
            if said.status in ("yes", "waits"):
                self._end(name, "no")
                said.kept_until = self.time + self.world.refusal
        self.rows, self.holders = {}, {}

    def set_age(self, age: str | None) -> None:
        """Set the age band."""
        self.age = age
        self.settle()

    def set_signal(self, name: str, *, on: bool | None) -> None:
        """Set an opt-out signal."""
        if name in self.signals and self.signals[name] is on:
            return
        self.signals[name] = on
        if on is not None:
            if on and not self.known.get(name, False):
                for said in self.said.values():
                    said.over = False
            self.known[name] = on
        self.settle()

    def adopt(self, world: World | None) -> None:
        """Put other terms in force."""
        self.approved = world is not None and world.revision >= self.world.revision
        if world is not None and self.approved:
            self.world = world
        self.settle()

    def breaks(self) -> None:
        """The receipts do not verify, found at a start."""
        if self.broken is None:
            self.broken = self.time
        self.data_follows()

    def tick(self) -> None:
        """Let time do what it does."""
        self.last = max(self.last, self.now)
        self.settle()
        if not self.restricted:
            for feature, rows in self.rows.items():
                ttl = self.world.ttl[feature]
                self.rows[feature] = [at for at in rows if self.time - at < ttl]

    def collect(self, feature: str) -> bool:
        """Record an event, if any purpose may use it."""
        if any(self.is_open(purpose, feature) for purpose in self.world.allow):
            self.rows.setdefault(feature, []).append(self.now)
            return True
        return False

    # Consequences.

    def set_right(self, *, clock: bool) -> None:
        """A choice of the person begins a broken chain anew; a yes sets the clock right."""
        ends = None
        if clock and self.now < self.last - SLACK:
            ends = self.now + self.world.grace
            self.last = self.now
            for said in self.said.values():
                said.waits_until = min(said.waits_until, ends)
                said.since = {f: min(t, self.now) for f, t in said.since.items()}
                said.kept_until = min(said.kept_until, self.now + self.world.refusal)
            for feature, rows in self.rows.items():
                self.rows[feature] = [at for at in rows if at <= self.now]
        if self.broken is not None:
            ends = min(self.broken, self.now) + self.world.grace
            self.broken = None
        if ends is None:
            return
        for name, said in self.said.items():
            if said.status == "yes":
                self._end(name, "waits", ends)
        self.data_follows()

    def settle(self) -> None:
        """Close what has to close by itself; a broken chain has closed everything already."""
        if self.broken is None:
            fates = {name: self._fate(name) for name in self.said}
            for name in list(self.said):
                self._meet(name, fates)
        self.data_follows()

    def data_follows(self) -> None:
        """Delete what nobody keeps."""
        if self.restricted:
            for feature, holders in self.holders.items():
                if not holders:
                    self.rows.pop(feature, None)
            return
        for feature in {
            *self.rows,
            *self.holders,
            *(f for s in self.said.values() for f in s.features),
        }:
            self.holders[feature] = {p for p in self.said if self._keeps(p, feature)}
            if not self.holders[feature]:
                self.rows.pop(feature, None)

    def _said(self, purpose: str) -> Said:
        return self.said.get(purpose, Said("no", 0))

    def _above(self, purpose: str) -> set[str]:
        found: set[str] = set()
        waiting = list(self.world.requires.get(purpose, ()))
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting += self.world.requires.get(name, ())
        return found

    def _end(self, name: str, status: str, waits_until: float = 0.0) -> None:
        said = self._said(name)
        said.status, said.waits_until, said.number = status, waits_until, next(self._numbers)
        self.said[name] = said

    def _fate(self, name: str) -> tuple[str, float] | None:
        """Return what ends a purpose by itself: ``no`` at once, or ``waits`` until a time."""
        said, world = self.said[name], self.world
        if said.status not in ("yes", "waits"):
            return None
        if self.approved and self._must_go(name):
            return "no", 0.0
        if said.status == "yes" and self.time >= said.until:
            return "waits", said.until + world.grace
        if said.status == "yes" and self.approved and said.policy != world.policy:
            return "waits", self.time + world.grace
        return None

    def _must_go(self, name: str) -> bool:
        """Whether the data of a purpose must go at once, whatever was said."""
        said, world = self.said[name], self.world
        if not said.features & world.allow.get(name, frozenset()):
            return True
        young = self.age is not None and MIN_AGE[self.age] < world.min_age
        return world.leaves[name] and (young or (self.signal_on() and not said.over))

    def _meet(self, name: str, fates: dict[str, tuple[str, float] | None]) -> None:
        """Let a purpose meet its own fate and that of all it needs; the harder one counts."""
        said = self.said[name]
        if said.status not in ("yes", "waits"):
            return
        met = [fates[name]] if fates[name] else []
        for other in self._above(name):
            fate = fates.get(other)
            status = self._said(other).status
            if fate is not None:
                met.append(fate)
            elif status != "yes":
                met.append((status, self._said(other).waits_until))
        if any(fate is not None and fate[0] == "no" for fate in met):
            self._end(name, "no")
        elif met and said.status == "yes":
            own = fates[name]
            times = [own[1]] if own else [fate[1] for fate in met if fate is not None]
            self._end(name, "waits", min(times))
        elif self.approved and said.status == "yes":
            allowed = self.world.allow.get(name, frozenset())
            if not said.features <= allowed:
                said.features &= allowed
                said.since = {f: t for f, t in said.since.items() if f in allowed}
                said.number = next(self._numbers)

    def _keeps(self, purpose: str, feature: str) -> bool:
        said = self.said[purpose]
        if feature not in said.features or feature not in self.world.allow.get(
            purpose, frozenset()
        ):
            return False
        if self.broken is not None and self.time >= self.broken + self.world.grace:
            return False
        return said.status == "yes" or (said.status == "waits" and self.time < said.waits_until)
