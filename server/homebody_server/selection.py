"""Draw the cohort of a round: one secret coin per enrolled device.

True Poisson sampling, as the accountant assumes: each device is in with probability q on its own,
a device that is offline counts as a zero contribution, nobody is drawn again or topped up. A
cohort above the cap is cut to a random subset, which is charged as the truncated mechanism of
Ganesh, "Tight Privacy Amplification for Truncated Poisson Sampling" (2025),
https://arxiv.org/abs/2508.15089.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

_FULL = 2**64


class Words(Protocol):
    """A stream of independent uniform 64-bit words that no one else can predict."""

    def words(self, n: int) -> npt.NDArray[np.uint64]:
        """Return the next ``n`` words."""
        ...


def poisson_cohort(
    registered: npt.NDArray[np.int64], sampling_rate: float, cohort_cap: int, coins: Words
) -> npt.NDArray[np.int64]:
    """Return the numbers of the devices drawn for one round, ascending. Secret.

    Args:
        registered: Numbers of the enrolled devices, ascending, without repeats. Device number i
            owns the i-th coin, so that a device's coin does not depend on who else enrolled.
        sampling_rate: Probability q of each device, in (0, 1]. Public.
        cohort_cap: Most devices a round may have. Public.
        coins: Stream keyed for this round alone. Secret.

    Raises:
        ValueError: If ``sampling_rate`` or ``cohort_cap`` is out of range or ``registered`` is
            not ascending.
    """
    if not 0.0 < sampling_rate <= 1.0:
        raise ValueError(f"sampling_rate must be in (0, 1], got {sampling_rate!r}")
    if cohort_cap < 1:
        raise ValueError(f"cohort_cap must be at least 1, got {cohort_cap}")
    if registered.size == 0:
        return registered
    if registered[0] < 0 or (np.diff(registered) <= 0).any():
        raise ValueError("registered must be device numbers, ascending and without repeats")
    words = coins.words(int(registered[-1]) + 1)[registered]
    # Rounded down and compared strictly: nobody is drawn with more than the accounted rate.
    drawn = registered
    if sampling_rate < 1.0:
        drawn = registered[words < np.uint64(int(sampling_rate * _FULL))]
    if len(drawn) <= cohort_cap:
        return drawn
    lots = coins.words(len(drawn))  # a tie has probability 2**-64 per pair: order decides it
    return np.sort(drawn[np.argsort(lots, kind="stable")[:cohort_cap]])
