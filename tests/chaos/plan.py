"""Which accidents a scenario holds: all of it follows from its seed.

A fault is bound to the first delivery that fits it, or, if it is one of the server's machine, to
the n-th call of a step it takes. The same seed gives the same plan on every machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final

from homebody_privacy.legs import Step
from homebody_server.run_spec import MetricPlan


class Kind(StrEnum):
    """What goes wrong."""

    # On the way.
    LOST_DOWN = "lost-down"
    LOST_UP = "lost-up"
    SILENT = "silent"
    TWICE_DOWN = "twice-down"
    TWICE_UP = "twice-up"
    LATE_UP = "late-up"
    OLD_UP = "old-up"
    SWAPPED_UP = "swapped-up"
    SHUFFLED = "shuffled"
    PARTITION = "partition"
    FLIPPED_DOWN = "flipped-down"
    FLIPPED_UP = "flipped-up"
    FLIPPED_BROADCAST = "flipped-broadcast"
    CUT_SHORT_DOWN = "cut-short-down"
    CUT_SHORT_UP = "cut-short-up"
    LENGTHENED_UP = "lengthened-up"
    OLD_DOWN = "old-down"
    # A node that lies.
    LYING_BODY = "lying-body"
    WRONG_SIGNER = "wrong-signer"
    WRONG_RECIPIENT = "wrong-recipient"
    OTHERS_NAME = "others-name"
    # A server that lies.
    OLD_BODY = "old-body"
    SECOND_ASK = "second-ask"
    AHEAD = "ahead"
    # A node's machine.
    DEAD_BEFORE = "dead-before-it-was-kept"
    DEAD_AFTER = "dead-after-it-was-kept"
    DEAD_AT_WORK = "dead-at-work"
    DISK_FULL = "disk-full"
    STATE_LOST = "state-lost"
    STATE_LOST_OLD_RUN = "state-lost-and-old-messages"
    STATE_DAMAGED = "state-damaged"
    STATE_PUT_BACK = "state-put-back"
    SKEWED = "clock-skewed"
    CONSENT = "consent-changed"
    # The server's machine.
    CUT = "server-cut"
    CUT_AT_LEG = "server-cut-at-leg"
    TORN = "ledger-torn"
    CUT_NO_CACHE = "server-cut-and-replay-cache-lost"
    SERVER_FULL = "server-disk-full"


KINDS: Final = tuple(Kind)
OF_SERVER: Final = frozenset(
    {Kind.CUT, Kind.CUT_AT_LEG, Kind.TORN, Kind.CUT_NO_CACHE, Kind.SERVER_FULL}
)
POINTS: Final[Mapping[str, int]] = {
    # Step of the server, and the highest call of it that every world makes.
    "take-serial": 3,
    "accept-reply": 16,
    "close-session": 3,
    "open-round": 2,
    "sum": 2,
    "keep-noise": 2,
    "save-state": 2,
    "replace-file": 2,
    "append-entry": 4,
}
"""Where the server's machine stops; before or after."""

_LEGS: Final = (Step.ADVERTISE, Step.SHARE, Step.UPDATE, Step.CONFIRM, Step.UNMASK)
_NOT_AT_ENROLMENT: Final = frozenset(
    {
        *(Kind.OLD_UP, Kind.OLD_DOWN, Kind.OLD_BODY, Kind.SECOND_ASK, Kind.AHEAD, Kind.CONSENT),
        *(Kind.LYING_BODY, Kind.PARTITION, Kind.SKEWED, Kind.STATE_LOST_OLD_RUN),
        *(Kind.STATE_LOST, Kind.STATE_DAMAGED, Kind.STATE_PUT_BACK),
    }
)
_ONCE: Final = frozenset(
    {Kind.STATE_LOST, Kind.STATE_LOST_OLD_RUN, Kind.STATE_DAMAGED, Kind.SECOND_ASK, Kind.CONSENT}
)
_OFTEN: Final = frozenset({Kind.PARTITION, Kind.LOST_DOWN, Kind.LOST_UP})
_AT_WORK: Final = frozenset({Kind.FLIPPED_BROADCAST, Kind.DEAD_AT_WORK})
_LATER: Final = frozenset({Kind.OLD_UP, Kind.OLD_DOWN, Kind.OLD_BODY})  # something was before

QUALITY: Final = MetricPlan(name="quality", noise_multiplier=4.0, releases=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A run that accidents happen to.

    Attributes:
        parts: Nodes; twelve host one device each, fewer a shard.
        own: Fields of the spec.
        counted: Whether devices keep their own record of what they joined.
    """

    parts: int
    own: Mapping[str, Any]
    counted: bool = False


SETTINGS: Final[Mapping[str, Setting]] = {
    "gaussian, one device a node": Setting(parts=12, own={"rounds": 2}),
    "gaussian, some drawn": Setting(parts=12, own={"rounds": 2, "cohort_size": 9}, counted=True),
    "gaussian, shards": Setting(parts=6, own={"rounds": 3, "cohort_size": 7}),
    "gaussian, deployed": Setting(
        parts=6, own={"rounds": 3, "cohort_size": 7, "runtime": "deploy"}, counted=True
    ),
    "adaptive clip, one device a node": Setting(
        parts=12, own={"rounds": 2, "count_multiplier": 2.0}
    ),
    "adaptive clip, shards": Setting(
        parts=5, own={"rounds": 3, "count_multiplier": 2.0, "cohort_size": 8}
    ),
    "figures, shards": Setting(parts=5, own={"rounds": 2, "metrics": (QUALITY,)}),
    "figures, deployed": Setting(
        parts=6, own={"rounds": 2, "metrics": (QUALITY,), "runtime": "deploy"}, counted=True
    ),
    "blt, one device a node": Setting(
        parts=12, own={"mechanism": "blt", "cohort_size": 5, "rounds": 3}
    ),
    "blt, shards": Setting(parts=6, own={"mechanism": "blt"}),
    "blt, deployed": Setting(parts=5, own={"mechanism": "blt", "runtime": "deploy"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One accident.

    Attributes:
        kind: What goes wrong.
        number: Round it happens in; 0 for the enrolment.
        step: Leg it happens in.
        figure: In the session about a figure after the round, and not in the round's own.
        pick: Which of the leg's nodes, counted round.
        times: How many deliveries, legs or nodes, as the kind has it.
        chance: Seed of its own choices.
        point: Where the server's machine stops; empty for other kinds.
        call: At which call.
        after: After the call, and not before.
    """

    kind: Kind
    number: int = 1
    step: Step = Step.UPDATE
    figure: bool = False
    pick: int = 0
    times: int = 1
    chance: int = 0
    point: str = ""
    call: int = 1
    after: bool = False

    @property
    def once(self) -> bool:
        """Whether it strikes a node at the first delivery alone, and spares the next try."""
        return self.kind in _ONCE or (self.kind not in _OFTEN and not self.chance % 2)

    @property
    def rng(self) -> Random:
        """Its own chance, anew at each use."""
        return Random(self.chance)  # noqa: S311 - accidents are no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scenario."""

    seed: int
    setting: str
    faults: tuple[Fault, ...]
    key: bytes = field(repr=False)


def draw(seed: int) -> Plan:
    """Return the plan of a seed: the kinds take turns as its first fault, up to three others."""
    rng = Random(seed)  # noqa: S311
    setting = [*SETTINGS][(seed // len(KINDS) * 5 + seed) % len(SETTINGS)]
    kinds = [KINDS[seed % len(KINDS)], *rng.choices(KINDS, k=rng.choice((0, 0, 1, 2, 3)))]
    faults = tuple(
        _fault(kind, SETTINGS[setting], rng, first=not i) for i, kind in enumerate(kinds)
    )
    return Plan(seed=seed, setting=setting, faults=faults, key=rng.randbytes(32))


def _fault(kind: Kind, setting: Setting, rng: Random, *, first: bool) -> Fault:
    rounds = 2 if setting.own.get("mechanism") != "blt" else 3
    lowest = 2 if kind in _LATER else 1
    number, step = rng.randint(lowest, rounds), rng.choice(_LEGS)
    figure = "metrics" in setting.own and rng.random() < 0.4
    if kind in _AT_WORK:
        step = Step.UPDATE
    elif kind not in _NOT_AT_ENROLMENT | OF_SERVER and rng.random() < 0.1:
        number, step, figure = 0, Step.ENROL, False
    if kind is Kind.AHEAD and step is Step.UNMASK:
        step = Step.CONFIRM
    if figure and step is Step.UPDATE:
        step = Step.FIGURES
    point = ""
    if kind is Kind.SERVER_FULL:
        point = rng.choice(("replace-file", "append-entry"))
    elif kind in OF_SERVER - {Kind.CUT_AT_LEG, Kind.TORN}:
        point = rng.choice([*POINTS])
    elif kind is Kind.TORN:
        point = "append-entry"
    if point == "keep-noise" and setting.own.get("mechanism") != "blt":
        point = "save-state"  # nothing else is kept of independent noise
    highest = POINTS.get(point, 1)
    return Fault(
        kind=kind,
        number=number,
        step=step,
        figure=figure,
        pick=rng.randrange(12),
        times=_times(kind, setting.parts, rng) if first else 1,
        chance=rng.randrange(2**32),
        point=point,
        call=rng.randint(1, highest),
        after=kind is Kind.TORN or rng.random() < 0.5,
    )


def _times(kind: Kind, parts: int, rng: Random) -> int:
    """Return how often a first fault strikes: in one case of three beyond what a sum survives."""
    if kind is Kind.PARTITION:
        return rng.randint(1, 7)  # legs
    if kind in (Kind.LOST_DOWN, Kind.LOST_UP):
        return rng.choice((1, 3, 9))  # deliveries to one node; it is sent five
    return rng.choice((1, 2, parts // 2 + 1))  # nodes
