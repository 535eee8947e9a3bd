"""Does each round, and each row, draw noise of its own? Correlations that should be near zero."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from homebody_simulation.audit.projections import Matrix

STANDARD_ERRORS: Final = 4.0
"""How far chance carries a correlation: beyond it in 6 of 100,000 audits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation that independent noise keeps near zero.

    Attributes:
        estimate: What was found, in [-1, 1]; 0 where there is no noise at all.
        limit: Size that chance hardly ever passes.
    """

    estimate: float
    limit: float

    @property
    def is_beyond(self) -> bool:
        """Whether the noise is not independent."""
        return abs(self.estimate) > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstPair:
    """The two rounds whose noise is most alike.

    Attributes:
        rounds: Which two, from 1.
        correlation: Their correlation; the limit is for the worst of all pairs.
    """

    rounds: tuple[int, int]
    correlation: Correlation


def correlation(first: Matrix, second: Matrix) -> Correlation:
    """Correlate two arrays of noise of mean zero, entry by entry, against 4 / sqrt(entries)."""
    squares = float((first**2).sum()) * float((second**2).sum())
    return _against(float((first * second).sum()), squares, first.size)


def by_distance(noise: Matrix) -> tuple[Correlation, ...]:
    """Correlate rounds that are 1, 2, ... apart; ``noise`` is of shape ``(rows, T)``."""
    rows, rounds = noise.shape
    products = noise.T @ noise
    squares = np.concatenate([[0.0], np.cumsum(np.diagonal(products))])
    return tuple(
        _against(
            float(np.trace(products, offset=lag)),
            float(squares[rounds - lag] * (squares[rounds] - squares[lag])),
            rows * (rounds - lag),
        )
        for lag in range(1, rounds)
    )


def worst_pair(noise: Matrix, alpha: float) -> WorstPair | None:
    """Find the most alike of all pairs of rounds: reuse at any distance.

    For independent normal noise r * sqrt((n - 1) / (1 - r**2)) of n rows has Student's
    distribution with n - 1 degrees of freedom exactly; ``alpha`` is divided among the pairs.

    Args:
        noise: Noise of shape ``(rows, T)``, two rows or more.
        alpha: Chance that independent noise passes the limit.

    Returns:
        The pair; None for a single round.
    """
    rows, rounds = noise.shape
    if rounds == 1:
        return None
    length = np.sqrt((noise**2).sum(axis=0))
    unit = np.divide(noise, length, out=np.zeros_like(noise), where=length > 0.0)
    first, second = np.triu_indices(rounds, k=1)
    alike = (unit.T @ unit)[first, second]
    worst = int(np.argmax(np.abs(alike)))
    t = float(stdtrit(rows - 1, 1.0 - alpha / (2.0 * len(alike))))
    return WorstPair(
        rounds=(int(first[worst]) + 1, int(second[worst]) + 1),
        correlation=Correlation(
            estimate=float(alike[worst]), limit=t / math.sqrt(rows - 1 + t * t)
        ),
    )


def _against(product: float, squares: float, entries: int) -> Correlation:
    return Correlation(
        estimate=product / math.sqrt(squares) if squares > 0.0 else 0.0,
        limit=STANDARD_ERRORS / math.sqrt(entries),
    )
