"""What a release costs, written down: the charges that a ledger keeps and an accountant composes.

No accountant is loaded here, so that a ledger can be read anywhere.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import ROUND_CEILING, Decimal
from typing import Final, Self

LEAST_MULTIPLIER: Final = 0.05
"""Noise below it counts as none, epsilon as infinite: accountants run out of memory there."""

_WHOLE: Final = 2.0**53  # a float64 of this size has no decimals


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
    """

    population: int
    cohort_size: int
    cohort_cap: int
    noise_multiplier: float
    rounds: int

    def __post_init__(self) -> None:
        """Refuse what cannot be charged."""
        if not 1 <= self.cohort_size <= self.population:
            raise ValueError(f"cohort_size must be from 1 to {self.population} (population)")
        if self.cohort_cap < self.cohort_size:
            raise ValueError(f"cohort_cap must be at least {self.cohort_size} (cohort_size)")
        if not 0 <= self.noise_multiplier < math.inf:
            raise ValueError(f"noise_multiplier must be finite, >= 0, got {self.noise_multiplier}")
        if self.rounds < 0:
            raise ValueError(f"rounds must be at least 0, got {self.rounds}")

    @property
    def sampling_rate(self) -> float:
        """Probability that a device is drawn for a round."""
        return self.cohort_size / self.population

    def with_rounds(self, rounds: int) -> Self:
        """Return the same charge for another number of rounds."""
        return replace(self, rounds=rounds)

    def to_dict(self) -> dict[str, int | float]:
        """Return the fields as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Build a charge from ``to_dict``'s values.

        Raises:
            ValueError: If a field is missing, unknown, of another type or out of range.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ValueError(f"a charge has the fields {sorted(names)}, got {sorted(values)}")
        numbers: dict[str, int] = {}
        for name, value in values.items():
            whole = type(value) is int
            if not (whole or (name == "noise_multiplier" and type(value) is float)):
                raise ValueError(f"{name} of a charge must be a number, got {type(value).__name__}")
            numbers[name] = value  # type: ignore[assignment]  # int, or float for the multiplier
        return cls(**numbers)


def merged(charges: Iterable[PoissonRounds]) -> list[PoissonRounds]:
    """Add up the rounds of charges that differ in nothing else, in order of first appearance."""
    rounds: dict[PoissonRounds, int] = {}
    for charge in charges:
        kind = charge.with_rounds(0)
        rounds[kind] = rounds.get(kind, 0) + charge.rounds
    return [kind.with_rounds(n) for kind, n in rounds.items() if n > 0]


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
