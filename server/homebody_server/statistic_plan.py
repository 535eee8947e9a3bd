"""A one-shot sum of a run: which statistic, its noise, and what it costs."""

import math
from dataclasses import dataclass

from homebody_privacy.charges import GaussianReleases
from homebody_privacy.lattice import BITS, Lattice
from homebody_privacy.mechanisms import GaussianMechanism, Mechanism, NoNoise
from homebody_privacy.messages import STATISTICS, StatisticName


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticPass:
    """One sum about everybody, each of whom adds a vector of norm at most 1. Public.

    Attributes:
        name: Which statistic.
        noise_multiplier: Standard deviation of the noise on the sum; 0 is a laboratory reference
            without differential privacy.
        lattice_bits: The lattice step is 1 / 2**lattice_bits.
    """

    name: StatisticName
    noise_multiplier: float
    lattice_bits: int

    def __post_init__(self) -> None:
        """Refuse what cannot be released."""
        if self.name not in STATISTICS:
            raise ValueError(f"name must be one of {', '.join(STATISTICS)}, got {self.name!r}")
        if not 0.0 <= self.noise_multiplier < math.inf:
            raise ValueError(
                f"noise_multiplier must be finite, at least 0, got {self.noise_multiplier}"
            )
        if self.lattice_bits not in BITS:
            raise ValueError(f"lattice_bits must be from {BITS[0]} to {BITS[-1]}")

    @property
    def purchase(self) -> str:
        """Name of the purchase that pays for the release."""
        return f"statistics/{self.name}"

    @property
    def lattice(self) -> Lattice:
        """The lattice contributions lie on."""
        return Lattice(clip_norm=1.0, bits=self.lattice_bits)

    def charge(self, releases: int = 1) -> GaussianReleases:
        """Return what the release costs, or several like it."""
        return GaussianReleases(
            noise_multiplier=self.noise_multiplier, releases=releases, part="statistics"
        )

    def mechanism(self) -> Mechanism:
        """Return what noises the sum: everybody is asked, so nothing is amplified."""
        if self.noise_multiplier == 0.0:
            return NoNoise(self.lattice)
        return GaussianMechanism(self.lattice, self.noise_multiplier)
