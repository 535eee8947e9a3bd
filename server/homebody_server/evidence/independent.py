"""Epsilon once more, from the raw lines of a ledger, by other code than the code that spent it.

The run's own figures come from ``charges``, ``accounting``, ``closed_form`` and ``blt`` of
``homebody_privacy``. Nothing of them is loaded here (a test sees to it): entries are read by
``independent_lines``, every charge becomes an event of dp-accounting, and its accountant of privacy
loss distributions composes them all; for correlated noise the sensitivity is searched for over all
patterns (``independent_patterns``). What both share is dp-accounting, numpy and the ledger.

dp-accounting takes seconds to load, so it is loaded where the first figure is asked for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from homebody_privacy.errors import IntegrityError

from .independent_lines import CARRIED, RawLedger, number, numbers, whole
from .independent_patterns import worst_sensitivity

SAMPLER_SHARE: Final = 1e-3
"""Share of delta that is kept for what the noise sampler may err; composing has the rest."""

PARTS: Final = ("statistics", "training", "clipping", "metrics", "tuning")
"""What a charge may have paid for."""

_LEAST_NOISE: Final = 0.05  # an accountant runs out of memory below it: no figure is given
_FINE: Final = 1e-4  # grid of the loss distributions
_COARSE: Final = 1e-3  # enough where the loss is large: 1e-7, relative, for a Gaussian
_STRONG: Final = 1.0  # mu from which the coarse grid is enough
_ROUNDED: Final = 1e-9  # of a sensitivity, relative: no difference
_MOST_BUFFERS: Final = 16
_MOST_ROUNDS: Final = 1_000_000  # of one kind; no run is as long
_MOST_SQUARES: Final = 1e6  # of what is not hidden by coins: no figure is given beyond


@dataclass(frozen=True, slots=True)
class Sampled:
    """Equal rounds on secret Poisson cohorts.

    Attributes:
        population: Devices, each with a coin of its own.
        cohort: Devices expected.
        cap: Devices to which a larger draw is cut.
        noise: Deviation on the sum / what one device adds at most; above 0.
        rounds: How many, at least 0.
    """

    population: int
    cohort: int
    cap: int
    noise: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What was charged for one part, or for all.

    Attributes:
        sampled: Rounds on secret cohorts.
        squares: Sum of (sensitivity / noise)**2 over everything that is not sampled.
    """

    sampled: tuple[Sampled, ...] = ()
    squares: float = 0.0

    @property
    def seen(self) -> float:
        """The sum of squares toward whoever sees who takes part."""
        return self.squares + math.fsum(one.rounds / one.noise**2 for one in self.sampled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What a ledger comes to, at user level.

    Attributes:
        delta: Failure chance the ledger promises.
        epsilon: For those who cannot see who takes part, where coins kept that secret; else toward
            everybody. What a report calls spent.
        unamplified: Toward whoever sees who takes part.
        with_credit: With the credit for coins that the run counted on when it kept its cap, whether
            or not that still holds.
        is_amplified: Whether ``epsilon`` takes credit for secret coins.
        parts: As ``epsilon``, of each part that was charged, by itself.
        parts_unamplified: As ``unamplified``, by part.
        sensitivities: Name, stated and own sensitivity of each correlated run.
    """

    delta: float
    epsilon: float
    unamplified: float
    with_credit: float
    is_amplified: bool
    parts: Mapping[str, float] = field(repr=False)
    parts_unamplified: Mapping[str, float] = field(repr=False)
    sensitivities: Sequence[tuple[str, float, float]] = field(repr=False)

    @property
    def understated(self) -> tuple[str, ...]:
        """Names of correlated runs that state less than their worst pattern moves."""
        rows = self.sensitivities
        return tuple(name for name, stated, own in rows if stated < own * (1.0 - _ROUNDED))


def recompute(ledger: RawLedger) -> Recomputed:
    """Return what a ledger's entries come to: this run, and what earlier ones carried in.

    Args:
        ledger: Its raw lines; whether they are what was written is for other checks.

    Raises:
        IntegrityError: If a charge lacks a field, or holds one that no charge has.
        ModuleNotFoundError: If dp-accounting is not installed.
    """
    delta = number(ledger.header, "delta")
    if not 0.0 < delta < 1.0:
        raise IntegrityError("the ledger's delta is not above 0 and below 1")
    charges = ledger.charges
    sensitivities = [
        (name, number(one, "sensitivity"), _searched(one))
        for name, one in charges
        if one.get("kind") == "correlated-run"
    ]
    whole_loss = _loss(one for _, one in charges)
    by_part = {part: _loss(_of_part(charges, part)) for part in PARTS}
    charged = {part: loss for part, loss in by_part.items() if loss != Loss()}
    decided, share = ledger.is_decided, delta * (1.0 - SAMPLER_SHARE)
    toward = _seen if decided else _unseen
    return Recomputed(
        delta=delta,
        epsilon=toward(whole_loss, share),
        unamplified=_seen(whole_loss, share),
        with_credit=_unseen(whole_loss, share),
        is_amplified=bool(whole_loss.sampled) and not decided,
        parts={part: toward(loss, share) for part, loss in charged.items()},
        parts_unamplified={part: _seen(loss, share) for part, loss in charged.items()},
        sensitivities=sensitivities,
    )


def seen_squares(ledger: RawLedger, *, carried: bool) -> float:
    """Return the sum of (sensitivity / noise)**2 of what a ledger charged or carried in.

    Args:
        ledger: Its raw lines.
        carried: Whether to add up what earlier runs carried in, or else what this run charged.

    Raises:
        IntegrityError: If a charge is none.
    """
    charges = ledger.charges
    return _loss(one for name, one in charges if name.startswith(CARRIED) == carried).seen


@lru_cache(maxsize=64)
def composed_epsilon(loss: Loss, delta: float) -> float:
    """Compose what was charged with dp-accounting's privacy loss distributions.

    Args:
        loss: What was charged.
        delta: Failure chance, above 0 and below 1.

    Returns:
        Epsilon, never below the truth; infinity where there is next to no noise.
    """
    if loss == Loss():
        return 0.0
    least = min((one.noise for one in loss.sampled), default=math.inf)
    mu = math.sqrt(loss.squares)
    if least < _LEAST_NOISE or mu * _LEAST_NOISE > 1.0 or loss.seen > _MOST_SQUARES:
        return math.inf
    from dp_accounting import dp_event  # noqa: PLC0415 - seconds, and an extra
    from dp_accounting.pld import PLDAccountant  # noqa: PLC0415
    from dp_accounting.privacy_accountant import NeighboringRelation  # noqa: PLC0415

    grid = _COARSE if mu > _STRONG else _FINE
    accountant = PLDAccountant(
        NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=grid
    )
    for one in loss.sampled:
        event = dp_event.TruncatedSubsampledGaussianDpEvent(
            dataset_size=one.population,
            sampling_probability=one.cohort / one.population,
            truncated_batch_size=one.cap,
            noise_multiplier=one.noise,
        )
        accountant.compose(event, one.rounds)
    if mu > 0.0:
        accountant.compose(dp_event.GaussianDpEvent(1.0 / mu))
    return float(accountant.get_epsilon(delta))


def _unseen(loss: Loss, delta: float) -> float:
    return composed_epsilon(loss, delta)


def _seen(loss: Loss, delta: float) -> float:
    return composed_epsilon(Loss(squares=loss.seen), delta)


def _loss(charges: Iterable[Mapping[str, Any]]) -> Loss:
    rounds: dict[Sampled, int] = {}
    squares = []
    for charge in charges:
        match charge.get("kind"):
            case "poisson-rounds":
                one, times = _sampled(charge), whole(charge, "rounds")
                _refuse_more_rounds_than_any(times)
                if times:
                    rounds[one] = rounds.get(one, 0) + times
            case "correlated-run":
                moved = max(number(charge, "sensitivity"), _searched(charge))
                squares.append(whole(charge, "runs") * _square(moved, _noise(charge)))
            case "gaussian-releases":
                squares.append(whole(charge, "releases") * _square(1.0, _noise(charge)))
            case other:
                raise IntegrityError(f"the ledger has a charge of the unknown kind {other!r}")
    return Loss(
        tuple(Sampled(k.population, k.cohort, k.cap, k.noise, n) for k, n in rounds.items()),
        math.fsum(squares),
    )


def _of_part(
    charges: Iterable[tuple[str, Mapping[str, Any]]], part: str
) -> Iterable[Mapping[str, Any]]:
    """Return the charges of one part; a round that adapts its clip norm is two of them."""
    for _, charge in charges:
        paid = charge.get("part")
        if paid not in PARTS:
            raise IntegrityError("the ledger has a charge for no part of a run")
        count = charge.get("count_multiplier")
        if count is None:
            if paid == part:
                yield charge
        elif part == "clipping":
            yield {**charge, "noise_multiplier": count, "count_multiplier": None}
        elif paid == part:
            yield {**charge, "count_multiplier": None}


def _sampled(charge: Mapping[str, Any]) -> Sampled:
    population = whole(charge, "population", least=1)
    cohort = whole(charge, "cohort_size", least=1)
    cap = whole(charge, "cohort_cap", least=cohort)
    if cohort > population:
        raise IntegrityError("the ledger's cohort_size is above its population")
    noise = _noise(charge)
    if charge.get("count_multiplier") is not None:  # sum and count are one release of both
        count = _noise({"noise_multiplier": charge["count_multiplier"]})
        noise = noise * count / math.hypot(noise, count)
    return Sampled(population, cohort, cap, noise, 0)


def _noise(charge: Mapping[str, Any]) -> float:
    return max(number(charge, "noise_multiplier"), 1e-9)  # none at all: epsilon is infinite


def _square(moved: float, noise: float) -> float:
    ratio = moved / noise
    return ratio * ratio


def _searched(charge: Mapping[str, Any]) -> float:
    theta, omega = numbers(charge, "theta"), numbers(charge, "omega")
    rounds = whole(charge, "rounds", least=1)
    separation = whole(charge, "min_separation", least=1)
    if not 1 <= len(theta) <= _MOST_BUFFERS or len(theta) != len(omega):
        raise IntegrityError("the ledger's theta and omega are not of one length")
    _refuse_more_rounds_than_any(rounds)
    try:
        return _worst(theta, omega, rounds, separation, whole(charge, "max_rounds", least=1))
    except ValueError as error:
        raise IntegrityError(f"a correlated run of the ledger is none: {error}") from error


def _refuse_more_rounds_than_any(rounds: int) -> None:
    if rounds > _MOST_ROUNDS:
        raise IntegrityError("the ledger's rounds are more than any run has")


_worst = lru_cache(maxsize=16)(worst_sensitivity)
