"""How a round finds its devices: by secret coins, or so that nobody comes too often."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from homebody_privacy.blt import Participation
from homebody_server.hosts import Hosts
from homebody_server.selection import SeparatedDraw, Words, poisson_cohort

Coins = Callable[[int], Words]
"""Gives the stream of a round, keyed for it alone."""


class Cohorts(Protocol):
    """How the devices of a round are drawn."""

    @property
    def hosts(self) -> Hosts:
        """Flower node that hosts each enrolled device, by device number."""
        ...

    def draw(self, number: int, coins: Coins) -> npt.NDArray[np.int64]:
        """Return the devices of a round, ascending. Secret."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonCohorts:
    """Secret coins, for ``gaussian``. Public, but for who is drawn.

    Attributes:
        hosts: Flower node that hosts each enrolled device, by device number.
        sampling_rate: Probability q of each device and round.
        cohort_cap: Most devices of a round.
    """

    hosts: Hosts
    sampling_rate: float
    cohort_cap: int

    def draw(self, number: int, coins: Coins) -> npt.NDArray[np.int64]:
        """Return the devices of a round, ascending. Secret."""
        return poisson_cohort(
            self.hosts.devices, self.sampling_rate, self.cohort_cap, coins(number)
        )


@dataclass(slots=True, kw_only=True)
class SeparatedCohorts:
    """Cohorts of one size, for ``blt``: nobody comes too early or too often.

    Attributes:
        hosts: Flower node that hosts each enrolled device, by device number.
        cohort_size: Devices of a round.
        participation: How often a device may join.
    """

    hosts: Hosts
    cohort_size: int
    participation: Participation
    _draw: SeparatedDraw | None = field(init=False, repr=False, default=None)

    def draw(self, number: int, coins: Coins) -> npt.NDArray[np.int64]:
        """Return the devices of a round, ascending. Secret."""
        if self._draw is None:
            self._draw = SeparatedDraw(
                self.hosts.devices,
                cohort_size=self.cohort_size,
                participation=self.participation,
                lots=coins,
            )
        return self._draw.cohort(number)
