"""Draw the cohort of a round: by secret coins, or so that nobody comes too often.

``poisson_cohort`` is true Poisson sampling, as the accountant of the mechanism ``gaussian``
assumes: each device is in with probability q on its own, a device that is offline counts as a zero
contribution, nobody is drawn again or topped up. A cohort above the cap is cut to a random subset,
which is charged as the truncated mechanism of Ganesh, "Tight Privacy Amplification for Truncated
Poisson Sampling" (2025), https://arxiv.org/abs/2508.15089.

``SeparatedDraw`` is for the mechanism ``blt``, which assumes nothing but how often and how far
apart one device joins: it keeps to both on the server's side, as devices do on theirs.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from homebody_privacy.blt import Participation

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
    _check_registered(registered)
    words = coins.words(int(registered[-1]) + 1)[registered]
    # Rounded down and compared strictly: nobody is drawn with more than the accounted rate.
    drawn = registered
    if sampling_rate < 1.0:
        drawn = registered[words < np.uint64(int(sampling_rate * _FULL))]
    if len(drawn) <= cohort_cap:
        return drawn
    return drawn[least_lots(coins.words(len(drawn)), cohort_cap)]


class SeparatedDraw:
    """Draws cohorts of one size in which no device comes too early or too often.

    A device that was invited counts as joined, whether it came or not. The draw of a round is a
    function of the rounds before it and of their lots, so a run that resumes replays it: who was
    invited stands in no file.

    Args:
        registered: Numbers of the enrolled devices, ascending, without repeats.
        cohort_size: Devices a round asks for; fewer if not so many may come.
        participation: How often a device may join. Public.
        lots: Stream of each round, keyed for it alone. Secret, though nothing rests on it.

    Raises:
        ValueError: If ``registered`` is not ascending or ``cohort_size`` is below 1.
    """

    def __init__(
        self,
        registered: npt.NDArray[np.int64],
        *,
        cohort_size: int,
        participation: Participation,
        lots: Callable[[int], Words],
    ) -> None:
        """Start before the first round."""
        if cohort_size < 1:
            raise ValueError(f"cohort_size must be at least 1, got {cohort_size}")
        _check_registered(registered)
        self._registered = registered
        self._cohort_size = cohort_size
        self._participation = participation
        self._lots = lots
        self._drawn = 0
        self._last = np.full(len(registered), -participation.min_separation, np.int64)
        self._joins = np.zeros(len(registered), np.int64)

    def cohort(self, number: int) -> npt.NDArray[np.int64]:
        """Return the devices invited to a round, ascending. Secret.

        Args:
            number: Round, from 1; at most once, and not before a later one.

        Raises:
            ValueError: If the round was drawn before or is past the run's last.
        """
        if not self._drawn < number <= self._participation.rounds:
            raise ValueError(f"round {number} cannot be drawn after round {self._drawn}")
        while self._drawn < number:
            invited = self._next()
        return self._registered[invited]

    def _next(self) -> npt.NDArray[np.int64]:
        self._drawn += 1
        rested = self._drawn - self._last >= self._participation.min_separation
        free = np.flatnonzero(rested & (self._joins < self._participation.max_rounds))
        lots = self._lots(self._drawn).words(len(free))
        chosen = free[least_lots(lots, self._cohort_size)]
        self._last[chosen] = self._drawn
        self._joins[chosen] += 1
        return chosen


def least_lots(lots: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.int64]:
    """Return the places of the ``count`` least lots, ascending; of equal lots the first win.

    As a stable sort would choose, without sorting: a cohort is a small part of a population.

    Args:
        lots: Uniform words, shape ``(n,)``. Secret.
        count: How many, at least 1; all where there are fewer lots.
    """
    if count >= len(lots):
        return np.arange(len(lots), dtype=np.int64)
    # Some twice as many lots as are wanted lie below this bound; if too few do, all are looked at.
    low = lots[lots < np.uint64(min(_FULL - 1, 2 * count * _FULL // len(lots)))]
    last = np.partition(low if len(low) >= count else lots, count - 1)[count - 1]
    below = np.flatnonzero(lots < last)
    ties = np.flatnonzero(lots == last)  # two lots tie with probability 2**-64: order decides
    return np.sort(np.concatenate((below, ties[: count - len(below)])))


def _check_registered(registered: npt.NDArray[np.int64]) -> None:
    if registered.size and (registered[0] < 0 or (np.diff(registered) <= 0).any()):
        raise ValueError("registered must be device numbers, ascending and without repeats")
