"""Exact loss of unsampled Gaussian releases, with the standard library alone.

Balle and Wang, "Improving the Gaussian Mechanism for Differential Privacy" (2018), theorem 8,
https://arxiv.org/abs/1805.06530. This is no limit theorem: it holds for every round count.
"""

import math
from collections.abc import Iterable

from .charges import PoissonRounds

_SQRT2 = math.sqrt(2.0)
_SERIES_FROM = 26.0  # from here four terms are exact to 1e-12, and erfc has not underflowed


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the least delta at which a Gaussian release of strength mu is (epsilon, delta)-DP.

    Args:
        mu: Sensitivity / standard deviation of the noise, above 0.
        epsilon: Loss, at least 0.

    Returns:
        Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu), in [0, 1].
    """
    upper = (epsilon / mu - mu / 2.0) / _SQRT2
    lower = (epsilon / mu + mu / 2.0) / _SQRT2
    # exp(epsilon - lower**2) = exp(-upper**2): both terms share the factor, nothing overflows
    if upper < 1.0:
        return 0.5 * (math.erfc(upper) - math.exp(-(upper**2)) * _scaled_erfc(lower))
    return 0.5 * math.exp(-(upper**2)) * (_scaled_erfc(upper) - _scaled_erfc(lower))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the least epsilon at which a Gaussian release of strength mu is (epsilon, delta)-DP.

    Args:
        mu: Sensitivity / standard deviation of the noise, at least 0; several releases add their
            squares.
        delta: Failure chance, above 0 and below 1.

    Returns:
        Epsilon, at least 0, to a relative 1e-12 and never below the root; infinity for an
        infinite mu.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> round(gaussian_epsilon(1.0, 1e-5), 6)
        4.377178
    """
    if not mu >= 0.0:
        raise ValueError(f"mu must be at least 0, got {mu}")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must be above 0 and below 1, got {delta}")
    if math.isinf(mu):
        return math.inf
    if mu == 0.0 or gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2.0 * high
    while high - low > 1e-13 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def epsilon_unamplified(charges: Iterable[PoissonRounds], delta: float) -> float:
    """Return the loss toward whoever sees who takes part: no credit for sampling.

    Args:
        charges: What was or will be released. A device is counted in every round.
        delta: Failure chance, above 0 and below 1.

    Returns:
        The exact epsilon of mu = sqrt(sum of rounds / noise_multiplier**2); infinity without
        noise, 0 without charges.

    Raises:
        ValueError: If ``delta`` is out of range.
    """
    squares = 0.0
    for charge in charges:
        if charge.rounds == 0:
            continue
        squared = charge.noise_multiplier**2
        squares += charge.rounds / squared if squared > 0.0 else math.inf
    return gaussian_epsilon(math.sqrt(squares), delta)


def _scaled_erfc(x: float) -> float:
    """Return exp(x**2) erfc(x) for x >= 0, without underflow."""
    if x < _SERIES_FROM:
        return math.exp(x * x) * math.erfc(x)
    # asymptotic series, error below 1e-17 relative from 20 on
    square = 2.0 * x * x
    series = 1.0 - 1.0 / square * (1.0 - 3.0 / square * (1.0 - 5.0 / square * (1.0 - 7.0 / square)))
    return series / (x * math.sqrt(math.pi))
