"""Exact loss of unsampled Gaussian releases, with the standard library alone.

Balle and Wang, "Improving the Gaussian Mechanism for Differential Privacy" (2018), theorem 8,
https://arxiv.org/abs/1805.06530. This is no limit theorem: it holds for every round count.
"""

import math
from collections.abc import Iterable

from .charges import Charge

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


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the greatest mu at which a Gaussian release is (epsilon, delta)-DP.

    Args:
        epsilon: Loss, above 0 and finite.
        delta: Failure chance, above 0 and below 1.

    Returns:
        Mu to a relative 1e-13 and never above the root: ``gaussian_epsilon`` of it is at most
        ``epsilon``.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> round(gaussian_mu(4.0, 1e-5), 5)
        0.92493
    """
    if not 0.0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be finite and above 0, got {epsilon}")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must be above 0 and below 1, got {delta}")
    low, high = 0.0, 1.0
    while gaussian_delta(high, epsilon) <= delta:
        low, high = high, 2.0 * high
    while high - low > 1e-13 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if gaussian_delta(middle, epsilon) > delta else (middle, high)
    while gaussian_epsilon(low, delta) > epsilon:  # the two roots round differently
        low *= 1.0 - 1e-13
    return low


def epsilon_unamplified(charges: Iterable[Charge], delta: float) -> float:
    """Return the loss toward whoever sees who takes part: no credit for sampling.

    Args:
        charges: What was or will be released. A sampled device is counted in every round.
        delta: Failure chance, above 0 and below 1.

    Returns:
        The exact epsilon of mu = sqrt(sum of squared losses); infinity without noise, 0 without
        charges.

    Raises:
        ValueError: If ``delta`` is out of range.
    """
    squares = sum(charge.squared_loss for charge in charges)
    return gaussian_epsilon(math.sqrt(squares), delta)


def _scaled_erfc(x: float) -> float:
    """Return exp(x**2) erfc(x) for x >= 0, without underflow."""
    if x < _SERIES_FROM:
        return math.exp(x * x) * math.erfc(x)
    # asymptotic series, error below 1e-17 relative from 20 on
    square = 2.0 * x * x
    series = 1.0 - 1.0 / square * (1.0 - 3.0 / square * (1.0 - 5.0 / square * (1.0 - 7.0 / square)))
    return series / (x * math.sqrt(math.pi))
