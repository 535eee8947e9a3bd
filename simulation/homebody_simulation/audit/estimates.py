"""Figures with their bounds, kept apart: an estimate is never a bound, nor one bound the other."""

import math
from dataclasses import dataclass
from typing import Any

from scipy.special import betaincinv, chdtri, stdtrit


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured figure.

    Attributes:
        estimate: Best guess; it may lie on either side of the truth.
        lower_bound: At or below the truth at the stated confidence.
        upper_bound: At or above the truth at the stated confidence; infinity where there is none.
    """

    estimate: float
    lower_bound: float
    upper_bound: float

    def __post_init__(self) -> None:
        """Refuse bounds that cross."""
        if not self.lower_bound <= self.upper_bound:  # false for NaN too
            raise ValueError("lower_bound must not be above upper_bound")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; no bound is null."""
        return {
            "estimate": finite(self.estimate),
            "lower_bound": finite(self.lower_bound),
            "upper_bound": finite(self.upper_bound),
        }


def finite(value: float) -> float | None:
    """Return ``value`` as a JSON number; None for what JSON has no number for."""
    return value if math.isfinite(value) else None


def deviation_interval(squares: float, freedom: int, alpha: float) -> Interval:
    """Return the exact chi-square interval of a standard deviation.

    Args:
        squares: Sum of squared residuals of normal noise.
        freedom: Degrees of freedom, at least 1.
        alpha: Chance that the truth lies outside, half on each side.

    Examples:
        >>> deviation_interval(100.0, 100, 0.05).upper_bound.__round__(3)
        1.161
    """
    high, low = chdtri(freedom, alpha / 2.0), chdtri(freedom, 1.0 - alpha / 2.0)
    return Interval(
        estimate=math.sqrt(squares / freedom),
        lower_bound=math.sqrt(squares / high),
        upper_bound=math.sqrt(squares / low),
    )


def mean_interval(estimate: float, error: float, freedom: int, alpha: float) -> Interval:
    """Return the interval of an amplitude whose standard error was estimated (Student's t).

    Args:
        estimate: The estimate, normal around the truth.
        error: Its estimated standard error.
        freedom: Degrees of freedom of that error; for many, the interval is the normal one.
        alpha: Chance that the truth lies outside, half on each side.
    """
    reach = float(stdtrit(freedom, 1.0 - alpha / 2.0)) * error
    return Interval(estimate=estimate, lower_bound=estimate - reach, upper_bound=estimate + reach)


def share_interval(hits: int, trials: int, alpha: float) -> Interval:
    """Return the exact interval of a probability (Clopper and Pearson 1934).

    Args:
        hits: How often it happened, from 0 to ``trials``.
        trials: How often it could have, at least 1.
        alpha: Chance that the truth lies outside, half on each side.

    Examples:
        >>> share_interval(0, 100, 0.05).upper_bound.__round__(4)
        0.0362
    """
    half, misses = alpha / 2.0, trials - hits
    return Interval(
        estimate=hits / trials,
        lower_bound=float(betaincinv(hits, misses + 1, half)) if hits else 0.0,
        upper_bound=float(betaincinv(hits + 1, misses, 1.0 - half)) if misses else 1.0,
    )
