"""What the Gram statistic of a device is made with, as tables: the same digits on any processor."""

import numpy as np
import numpy.typing as npt

from homebody_models.statistics.contribution import EVENTS
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds

Vector = npt.NDArray[np.float64]


def weights_of(longest: int, window: float) -> Vector:
    """Return the weight of a pair by its distance, as ``gram_statistic`` makes it.

    Args:
        longest: Distances wanted, from 0: at least the events of the longest history.
        window: Weight that a step further costs beyond the harmonic one, in (0, 1].
    """
    distance = np.arange(longest, dtype=np.float64)
    weights = 1.0 / (1.0 + distance)
    if window < 1.0:
        weights *= window**distance
    return weights


def clips_of(lattice: Lattice) -> Vector:
    """Return, by number of distinct items, the norm their pairs are scaled down to.

    Args:
        lattice: Bound and step of one device's part.
    """
    return np.array([Bounds.of(lattice, n * (n - 1) // 2).clip for n in range(EVENTS + 1)])
