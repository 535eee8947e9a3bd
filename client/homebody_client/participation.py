"""A device's own bound on what it takes part in: rounds, separation, loss over its whole life.

The device decides from its own record and the approved config. Neither the clock nor the server's
word can make it laxer: everything is counted in rounds it joined, and a count the server keeps can
only add to its own. ``participation_store`` keeps the record on disk.

A device that joins more rounds than the analysis allows, or rounds closer together, breaks the
sensitivity that the noise was sized for (``blt``: Denisov et al. 2022,
https://arxiv.org/abs/2202.08312; Choquette-Choo et al. 2023, https://arxiv.org/abs/2306.08153).
Runs compose: the squares of their losses add up (Dong et al. 2019, Corollary 3.3,
https://arxiv.org/abs/1905.02383), with no credit for sampling, because whoever invites a device
knows that it took part.

What a server that lies can and cannot do:

=====================================  =======================================================
what it tries                          what comes of it
=====================================  =======================================================
invites too early, too often, or past  refused: separation, participation cap and number of
the last round                         rounds are the config's
numbers its rounds as it likes         they may follow each other fast, but only forward and
                                       ``min_separation`` numbers apart: the analysis holds
renames the run, to start anew         a new run is charged in full: refused once the device's
                                       own ceiling (``epsilon_max``) or ``max_runs`` is reached
changes the rules of a run             refused by whoever joined it under other rules
says that the device joined less       ignored
says that the device joined more       obeyed: the device joins less
asks a round again, same model         it is the same join, and may be answered again
asks a round again, another model      refused
adds less noise than it promised, or   **not seen here**: losses are those of the config.
the same noise twice                   ``max_runs`` times the cap bounds the joins even so
=====================================  =======================================================

Not seen either: two devices of one person, each with a life of its own, and a device whose record
and anchor are both gone. The server's own count per enrolment is the second line there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal

import rfc8785

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.errors import BudgetExhaustedError, HomebodyError, PolicyViolationError

_HEX: Final = frozenset("0123456789abcdef")
_DIGEST_DIGITS: Final = 64
_MOST: Final = 2**53 - 1  # the largest integer of canonical JSON
_LONGEST_RUN: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What the approved config lets one device do in one run. Public.

    Everything but ``run`` comes from the config in force on the device, never from a message.

    Attributes:
        run: Name of the run, as the server gives it, 1 to 256 characters.
        rounds: Rounds of the run, at least 1.
        min_separation: Least difference of the numbers of two rounds the device joins, at least 1.
        max_rounds: Participation cap: rounds the device may ever join in the run, at least 1.
        loss_per_run: Mu of the whole run where it is charged at once, by the first join (``blt``:
            sensitivity over all allowed patterns / noise multiplier), else 0. Infinity: no noise.
        loss_per_join: Mu of one joined round (``gaussian``: 1 / noise multiplier), else 0.
        delta: Failure chance at which the device's ceiling is judged, above 0 and below 1.
        epsilon_max: The device's own ceiling for its life, above 0, without credit for sampling.
            None: counted, not limited.
        max_runs: Runs the device may ever join, at least 1. None: not limited.
        first: Number of the first round: 1, or 0 where something is asked before the first one.
        again: Whether the last round may be answered again for the same model, so that a run can
            go on after a crash. False: what is asked once is answered once.
    """

    run: str
    rounds: int
    min_separation: int
    max_rounds: int
    loss_per_run: float
    loss_per_join: float
    delta: float
    epsilon_max: float | None
    max_runs: int | None = None
    first: Literal[0, 1] = 1
    again: bool = True

    def __post_init__(self) -> None:
        """Refuse what no config can mean."""
        _check_run(self.run)
        least_one = {"rounds": self.rounds, "min_separation": self.min_separation}
        least_one |= {"max_rounds": self.max_rounds, "max_runs": self.max_runs or 1}
        for name, value in least_one.items():
            if not 1 <= value <= _MOST:
                raise ValueError(f"{name} must be from 1 to 2**53 - 1")
        if self.max_runs == 0:
            raise ValueError("max_runs must be at least 1, or None")
        if not (self.loss_per_run >= 0.0 and self.loss_per_join >= 0.0):  # true for NaN
            raise ValueError("loss_per_run and loss_per_join must be at least 0")
        if not 0.0 < self.delta < 1.0:
            raise ValueError("delta must be above 0 and below 1")
        if self.epsilon_max is not None and not self.epsilon_max > 0.0:
            raise ValueError("epsilon_max must be above 0, or None")

    @property
    def costs(self) -> tuple[float, float]:
        """Squared loss of a device's first join of the run and of each later one, rounded up."""
        later = _square(self.loss_per_join)
        return add_losses(later, _square(self.loss_per_run)), later

    @property
    def terms(self) -> str:
        """SHA-256, as hex, of what must not change within a run: its rounds, rules and losses."""
        rules = [self.rounds, self.min_separation, self.max_rounds]
        losses = [float(self.loss_per_run).hex(), float(self.loss_per_join).hex()]
        return sha256(rfc8785.dumps([*rules, *losses])).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """One entry of the record: a device joined a round. Secret, but for what the config says.

    Attributes:
        device: Device number, from 0.
        run: Name of the run.
        round: Round, from 1; 0 for what is asked before the first.
        model: SHA-256 of the broadcast model, as hex.
        terms: ``Allowance.terms`` of the run.
        square: What the join adds to the device's squared loss, at least 0.
    """

    device: int
    run: str
    round: int
    model: str
    terms: str
    square: float

    def __post_init__(self) -> None:
        """Refuse what no device could have done."""
        if not 0 <= self.device <= _MOST:
            raise ValueError("device must be from 0 to 2**53 - 1")
        _check_run(self.run)
        if not 0 <= self.round <= _MOST:
            raise ValueError("round must be from 0 to 2**53 - 1")
        for name, digest in (("model", self.model), ("terms", self.terms)):
            if len(digest) != _DIGEST_DIGITS or not _HEX.issuperset(digest):
                raise ValueError(f"{name} must be a SHA-256 in lower-case hex")
        if not self.square >= 0.0:
            raise ValueError("square must be at least 0")


@dataclass(frozen=True, slots=True)
class JoinedRun:
    """What a device did in one run.

    Attributes:
        joins: Rounds it joined, at least 1.
        last: Number of the last one.
        model: Digest of the model it was asked to train then.
        terms: ``Allowance.terms`` under which it joined.
    """

    joins: int
    last: int
    model: str
    terms: str


@dataclass(frozen=True, slots=True)
class Life:
    """What one device did in its life; nothing here is ever taken back.

    Attributes:
        runs: What it did, by run.
        square: Sum of the squared losses, rounded up.

    Examples:
        >>> allowance = Allowance(
        ...     run="autumn", rounds=100, min_separation=25, max_rounds=4, loss_per_run=0.5,
        ...     loss_per_join=0.0, delta=1e-5, epsilon_max=2.0,
        ... )
        >>> join = Join(
        ...     device=0, run="autumn", round=3, model="a" * 64, terms=allowance.terms,
        ...     square=Life().cost(allowance),
        ... )
        >>> life = Life().after(join)
        >>> life.refusal(allowance, 27)
        PolicyViolationError('too few rounds have passed since the device joined one')
        >>> life.refusal(allowance, 28) is None
        True
    """

    runs: Mapping[str, JoinedRun] = field(default_factory=dict)
    square: float = 0.0

    def refusal(
        self, allowance: Allowance, number: int, *, model: str | None = None, known_joins: int = 0
    ) -> HomebodyError | None:
        """Say why the device may not join a round; None if it may.

        The last round it saw is the last one it joined: a round it sat out leaves no trace. That
        round it may answer again, as the same join, unless the allowance says once.

        Args:
            allowance: What the config allows in the run.
            number: Round, from 1; 0 for what is asked before the first.
            model: SHA-256 of the broadcast model, as hex; None while it is not known.
            known_joins: Rounds of the run the server says the device joined; counts only where it
                is more than the device's own count.

        Returns:
            ``PolicyViolationError``: not a round of the run, run joined under other terms, round
            joined with another model, or before and it is answered once, too early, before the
            last one, cap or ``max_runs`` reached.
            ``BudgetExhaustedError``: the device's own ceiling would be passed.
        """
        if not allowance.first <= number <= allowance.rounds:
            return PolicyViolationError("the run has no round of this number")
        if (broken := self._broken_rule(allowance, number, model)) is not None:
            return PolicyViolationError(broken)
        if self.is_repeat(allowance.run, number):
            once = PolicyViolationError("the device answered this before, and does so once")
            return None if allowance.again else once
        if max(self.joins(allowance.run), known_joins) >= allowance.max_rounds:
            return PolicyViolationError("the device's participation cap is reached in this run")
        return self._over_ceiling(allowance, known_joins)

    def joins(self, run: str) -> int:
        """Return the rounds of a run the device joined."""
        return self.runs[run].joins if run in self.runs else 0

    def is_repeat(self, run: str, number: int) -> bool:
        """Tell whether a round is the last one the device joined in its run."""
        return run in self.runs and self.runs[run].last == number

    def cost(self, allowance: Allowance) -> float:
        """Return the squared loss that the next join of a run adds, rounded up."""
        first, later = allowance.costs
        return later if allowance.run in self.runs else first

    def after(self, join: Join) -> "Life":
        """Return the life with one more join."""
        run = self.runs.get(join.run, JoinedRun(0, 0, join.model, join.terms))
        joined = replace(run, joins=run.joins + 1, last=join.round, model=join.model)
        return Life({**self.runs, join.run: joined}, add_losses(self.square, join.square))

    def epsilon(self, delta: float) -> float:
        """Return what the device has spent, without credit for sampling, at ``delta``.

        Raises:
            ValueError: If ``delta`` is not above 0 and below 1.
        """
        return epsilon_of(self.square, delta)

    def _broken_rule(self, allowance: Allowance, number: int, model: str | None) -> str | None:
        run = self.runs.get(allowance.run)
        if run is None:
            full = allowance.max_runs is not None and len(self.runs) >= allowance.max_runs
            return "the device may not join another run" if full else None
        if run.terms != allowance.terms:
            return "the rules of the run changed after the device joined it"
        if number == run.last:
            same = model in (None, run.model)
            return None if same else "the device joined this round with another model"
        early = number - run.last < allowance.min_separation
        return "too few rounds have passed since the device joined one" if early else None

    def _over_ceiling(self, allowance: Allowance, known_joins: int) -> HomebodyError | None:
        if allowance.epsilon_max is None:
            return None
        square = add_losses(self.square, self.cost(allowance))
        forgotten = known_joins - self.joins(allowance.run)
        if forgotten > 0:
            square = add_losses(square, forgotten * _square(allowance.loss_per_join))
        if epsilon_of(square, allowance.delta) <= allowance.epsilon_max:
            return None
        return BudgetExhaustedError(
            "joining would take the device past its own ceiling",
            fix="nothing was sent; the device takes no part any more",
        )


@lru_cache(maxsize=4096)  # devices of one simulation share few values
def epsilon_of(square: float, delta: float) -> float:
    """Return the epsilon of a squared loss at ``delta``, rounded up."""
    root = math.sqrt(square)
    return gaussian_epsilon(root if square == 0.0 else math.nextafter(root, math.inf), delta)


def add_losses(total: float, more: float) -> float:
    """Add two losses so that rounding never makes the sum smaller."""
    return math.nextafter(total + more, math.inf) if more > 0.0 else total


def _square(loss: float) -> float:
    return math.nextafter(loss * loss, math.inf) if loss > 0.0 else 0.0


def _check_run(run: str) -> None:
    if not 1 <= len(run) <= _LONGEST_RUN or not run.isprintable():
        raise ValueError(f"run must have 1 to {_LONGEST_RUN} printable characters")
