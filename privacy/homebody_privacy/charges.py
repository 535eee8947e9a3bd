"""What a release costs, written down: the charges that a ledger keeps and an accountant composes.

No accountant is loaded here, so that a ledger can be read anywhere. Three kinds: rounds on secret
Poisson cohorts (``PoissonRounds``), a whole run under correlated noise (``CorrelatedRun``) and
plain Gaussian releases about everybody (``GaussianReleases``). Each says which part of the work it
paid for, so that epsilon can be given by part.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final, Literal, Self, TypeAlias, TypeGuard, get_args

Part = Literal["statistics", "training", "clipping", "metrics", "tuning"]
"""What a charge paid for: one-shot sums, rounds, the adaptive clip norm, figures about people, or
trials."""

PARTS: Final[tuple[Part, ...]] = get_args(Part)

LEAST_MULTIPLIER: Final = 0.05
"""Noise below it counts as none, epsilon as infinite: accountants run out of memory there."""

_WHOLE: Final = 2.0**53  # a float64 of this size has no decimals


def _check_noise(noise_multiplier: float) -> None:
    if not 0 <= noise_multiplier < math.inf:
        raise ValueError(f"noise_multiplier must be finite, >= 0, got {noise_multiplier}")


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")


def _inverse(multiplier: float) -> float:
    return 1.0 / multiplier if multiplier > 0.0 else math.inf


def _inverse_square(multiplier: float) -> float:
    inverse = _inverse(multiplier)
    return inverse * inverse  # a product is infinite where a power would raise


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonRounds:
    """Rounds of the Gaussian mechanism on secret Poisson cohorts; all fields public.

    Each registered device is drawn by its own coin of probability ``sampling_rate``; a draw of
    more than ``cohort_cap`` is cut to it (https://arxiv.org/abs/2508.15089).

    Attributes:
        population: Registered, eligible and consenting devices, at least 1.
        cohort_size: Expected cohort and constant denominator, from 1 to ``population``.
        cohort_cap: Most devices of one round, at least ``cohort_size``.
        noise_multiplier: Standard deviation of the noise on the sum / clip norm; finite, >= 0.
            0 is no protection: epsilon is infinite.
        rounds: How many such rounds, at least 0.
        count_multiplier: Standard deviation of the noise on the count that adapts the clip norm,
            over the most one device adds to it; None where the clip norm is fixed. Sum and count
            of one round are one Gaussian release (https://arxiv.org/abs/1905.03871, theorem 1).
        part: What it paid for.
    """

    population: int
    cohort_size: int
    cohort_cap: int
    noise_multiplier: float
    rounds: int
    count_multiplier: float | None = None
    part: Part = "training"

    def __post_init__(self) -> None:
        """Refuse what cannot be charged."""
        if not 1 <= self.cohort_size <= self.population:
            raise ValueError(f"cohort_size must be from 1 to {self.population} (population)")
        if self.cohort_cap < self.cohort_size:
            raise ValueError(f"cohort_cap must be at least {self.cohort_size} (cohort_size)")
        _check_noise(self.noise_multiplier)
        if self.count_multiplier is not None:
            _check_noise(self.count_multiplier)
        if self.rounds < 0:
            raise ValueError(f"rounds must be at least 0, got {self.rounds}")
        _check_part(self.part)

    @property
    def sampling_rate(self) -> float:
        """Probability that a device is drawn for a round."""
        return self.cohort_size / self.population

    @property
    def effective_multiplier(self) -> float:
        """Noise multiplier of sum and count taken as one release: that of the sum, or less."""
        if self.count_multiplier is None:
            return self.noise_multiplier
        return 1.0 / math.hypot(_inverse(self.noise_multiplier), _inverse(self.count_multiplier))

    @property
    def squared_loss(self) -> float:
        """Mu squared toward whoever sees who takes part: a device counted in every round."""
        return self.rounds * _inverse_square(self.effective_multiplier) if self.rounds else 0.0

    def with_rounds(self, rounds: int) -> Self:
        """Return the same charge for another number of rounds."""
        return replace(self, rounds=rounds)

    def with_part(self, part: Part) -> Self:
        """Return the same charge, paid for another part."""
        return replace(self, part=part)

    def without_credit(self) -> "GaussianReleases":
        """Return what the rounds cost if who came is no secret: releases about everybody."""
        return GaussianReleases(
            noise_multiplier=self.effective_multiplier, releases=self.rounds, part=self.part
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"kind": "poisson-rounds", **_values(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelatedRun:
    """A whole run of DP-FTRL with BLT-correlated noise; no sampling is assumed. All public.

    Attributes:
        noise_multiplier: Standard deviation of the noise before correlation / clip norm; >= 0.
        sensitivity: What one device can move the correlated sums by, in clip norms, rounding to
            the fine lattice included; above 0. It follows from the fields below.
        rounds: Steps of the run, at least 1.
        min_separation: Rounds from one join of a device to the next, at least 1.
        max_rounds: Most rounds one device joins, at least 1.
        theta: Decay of each noise buffer.
        omega: Weight of each noise buffer.
        runs: How many such runs, at least 0.
        part: What it paid for.
    """

    noise_multiplier: float
    sensitivity: float
    rounds: int
    min_separation: int
    max_rounds: int
    theta: tuple[float, ...]
    omega: tuple[float, ...]
    runs: int = 1
    part: Part = "training"

    def __post_init__(self) -> None:
        """Refuse what cannot be charged."""
        _check_noise(self.noise_multiplier)
        if not 0.0 < self.sensitivity < math.inf:
            raise ValueError(f"sensitivity must be finite, above 0, got {self.sensitivity}")
        if min(self.rounds, self.min_separation, self.max_rounds) < 1 or self.runs < 0:
            raise ValueError("rounds, min_separation and max_rounds must be at least 1, runs 0")
        if len(self.theta) != len(self.omega):
            raise ValueError("theta and omega must have the same length")
        _check_part(self.part)

    @property
    def squared_loss(self) -> float:
        """Mu squared of the runs together: exact, and no credit for who is drawn."""
        mu = self.sensitivity * _inverse(self.noise_multiplier)
        return self.runs * (mu * mu) if self.runs else 0.0

    def with_part(self, part: Part) -> Self:
        """Return the same charge, paid for another part."""
        return replace(self, part=part)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"kind": "correlated-run", **_values(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianReleases:
    """Sums over all devices, each contribution of norm at most 1, with Gaussian noise; public.

    Metrics, counts and histograms: everybody is asked, so nothing is amplified.

    Attributes:
        noise_multiplier: Standard deviation of the noise / the most one device adds; >= 0.
        releases: How many, at least 0.
        part: What it paid for.
    """

    noise_multiplier: float
    releases: int = 1
    part: Part = "metrics"

    def __post_init__(self) -> None:
        """Refuse what cannot be charged."""
        _check_noise(self.noise_multiplier)
        if self.releases < 0:
            raise ValueError(f"releases must be at least 0, got {self.releases}")
        _check_part(self.part)

    @property
    def squared_loss(self) -> float:
        """Mu squared of the releases together: exact, and no credit for who is drawn."""
        return self.releases * _inverse_square(self.noise_multiplier) if self.releases else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"kind": "gaussian-releases", **_values(self)}


Charge: TypeAlias = PoissonRounds | CorrelatedRun | GaussianReleases

_KINDS: Final[Mapping[str, type[Charge]]] = {
    "poisson-rounds": PoissonRounds,
    "correlated-run": CorrelatedRun,
    "gaussian-releases": GaussianReleases,
}
_DECIMAL: Final = frozenset({"noise_multiplier", "count_multiplier", "sensitivity"})
_LISTS: Final = frozenset({"theta", "omega"})


def charge_from_dict(values: Mapping[str, object]) -> Charge:
    """Build a charge from its ``to_dict``.

    Raises:
        ValueError: If the kind is unknown, or a field is missing, unknown, of another type or out
            of range.
    """
    kind = _KINDS.get(str(values.get("kind")))
    if kind is None:
        raise ValueError(f"a charge has one of the kinds {', '.join(_KINDS)}")
    names = {field.name for field in fields(kind)}
    if set(values) != names | {"kind"}:
        raise ValueError(f"a charge has the fields {sorted(names)}, got {sorted(values)}")
    return kind(**{name: _field(name, values[name]) for name in names})


def _field(name: str, value: object) -> Any:  # noqa: ANN401 - one of the fields' types
    if name == "part" or (name == "count_multiplier" and value is None):
        return value  # the class checks the words
    if name in _LISTS:
        if not isinstance(value, list) or not all(_is_number(x, decimal=True) for x in value):
            raise ValueError(f"{name} of a charge must be a list of numbers")
        return tuple(float(x) for x in value)
    if not _is_number(value, decimal=name in _DECIMAL):
        raise ValueError(f"{name} of a charge must be a number, got {type(value).__name__}")
    return float(value) if name in _DECIMAL else value  # canonical JSON writes 2.0 as 2


def _is_number(value: object, *, decimal: bool) -> TypeGuard[int | float]:
    return type(value) is int or (decimal and type(value) is float)


def _values(charge: Charge) -> dict[str, Any]:
    values = {field.name: getattr(charge, field.name) for field in fields(charge)}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def merged(charges: Iterable[PoissonRounds]) -> list[PoissonRounds]:
    """Add up the rounds of charges that cost the same, in order of first appearance.

    The part does not change what a charge costs: it becomes ``training`` in the result.
    """
    rounds: dict[PoissonRounds, int] = {}
    for charge in charges:
        kind = replace(charge, rounds=0, part="training")
        rounds[kind] = rounds.get(kind, 0) + charge.rounds
    return [kind.with_rounds(n) for kind, n in rounds.items() if n > 0]


def of_part(charges: Iterable[Charge], part: Part) -> list[Charge]:
    """Return what was charged for one part, as charges of their own.

    A round that adapts its clip norm is both: its sum is ``training``, its count ``clipping``.
    The parts' losses do not add up to the total: composing is not adding.
    """
    found: list[Charge] = []
    for charge in charges:
        count = charge.count_multiplier if isinstance(charge, PoissonRounds) else None
        if isinstance(charge, PoissonRounds) and count is not None:
            if part == "clipping":
                found.append(
                    replace(charge, noise_multiplier=count, count_multiplier=None, part=part)
                )
                continue
            charge = replace(charge, count_multiplier=None)  # noqa: PLW2901 - its sum alone
        if charge.part == part:
            found.append(charge)
    return found


def round_up(x: float, digits: int) -> float:
    """Round toward plus infinity to ``digits`` decimals, as every printed epsilon is.

    Args:
        x: Number; infinity, and what is too large to have decimals, is returned as it is.
        digits: Decimals to keep, at least 0.

    Returns:
        The least decimal of that many digits that is not below the exact value of ``x``, as the
        nearest float64, which prints as that decimal.

    Examples:
        >>> round_up(1.2301, 2)
        1.24
        >>> round_up(1.25, 2)
        1.25
    """
    if abs(x) >= _WHOLE:
        return x
    return float(Decimal(x).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING))
