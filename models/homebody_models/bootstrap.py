"""A mean over devices with its interval (Efron 1979, percentile bootstrap), for any number of them.

A resample draws as many devices as there are, with replacement. Its mean depends on how often each
value was drawn alone, and these counts are multinomial. Metrics of ranks take few values: beyond
``DRAWN`` devices counts are drawn instead of devices, which is the same distribution, not an
approximation, and costs nothing per device.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

DRAWN: Final = 20_000
"""Up to so many devices are drawn one by one; of more, how often each value comes."""

_MOST_VALUES: Final = 4_096  # of more distinct ones devices are drawn after all
_BLOCK_RESAMPLES: Final = 50
_BLOCK_DRAWS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over devices with its 95 % bootstrap interval.

    Attributes:
        mean: Mean over devices.
        low: 2.5th percentile of resampled means.
        high: 97.5th percentile of resampled means.
        n: Number of devices.
    """

    mean: float
    low: float
    high: float
    n: int


def bootstrap(
    values: npt.NDArray[np.float64], rng: np.random.Generator, resamples: int = 1000
) -> Estimate:
    """Estimate the mean of ``values`` with a percentile interval over resampled devices.

    Args:
        values: One value a device, shape ``(n,)``.
        rng: Draws the resamples.
        resamples: How many, at least 1.

    Raises:
        ValueError: If ``values`` is empty or not one-dimensional.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be one-dimensional and not empty, got {values.shape}")
    means = None
    if len(values) > DRAWN:
        means = _means_of_counts(values, rng, resamples)
    if means is None:
        means = _means_of_devices(values, rng, resamples)
    low, high = np.percentile(means, (2.5, 97.5))
    mean, n = float(values.mean()), len(values)
    return Estimate(mean=mean, low=float(low), high=float(high), n=n)


def _means_of_devices(
    values: npt.NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> npt.NDArray[np.float64]:
    """Draw devices. Blocks bound the memory and leave the order of the draws as it is."""
    n = len(values)
    rows = max(1, min(_BLOCK_RESAMPLES, _BLOCK_DRAWS // n))
    return np.concatenate(
        [
            values[rng.integers(n, size=(min(rows, resamples - done), n))].mean(axis=1)
            for done in range(0, resamples, rows)
        ]
    )


def _means_of_counts(
    values: npt.NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> npt.NDArray[np.float64] | None:
    """Draw how often each distinct value comes; None where there are too many of them."""
    n = len(values)
    distinct, times = np.unique(values, return_counts=True)
    if len(distinct) > _MOST_VALUES:
        return None
    shares = times / n
    rows = max(1, _BLOCK_DRAWS // len(distinct))
    return np.concatenate(
        [
            rng.multinomial(n, shares, size=min(rows, resamples - done)) @ distinct / n
            for done in range(0, resamples, rows)
        ]
    )
