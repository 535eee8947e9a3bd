"""What turns a sum of contributions into a release: noise, and what it costs by itself.

Dwork and Roth, "The Algorithmic Foundations of Differential Privacy" (2014), appendix A, for the
Gaussian mechanism; ``noise`` for why rounding it to the lattice costs nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .closed_form import gaussian_epsilon
from .lattice import Lattice
from .noise import epsilon_excess, rounded_gaussian, total_variation
from .stream import NoiseStream


class Mechanism(Protocol):
    """Adds noise to a sum of lattice integers.

    Every implementation guarantees: noise is integer, in lattice units, drawn from the given
    stream alone, and independent of the sum; ``sensitivity`` bounds what one device can change.
    """

    @property
    def sensitivity(self) -> int:
        """L2 bound of one device's integers, in lattice units. Public."""

    def noise(self, dim: int, stream: NoiseStream) -> npt.NDArray[np.int64]:
        """Draw the noise of one release: int64 of shape ``(dim,)``. Secret."""

    def epsilon(self, delta: float) -> float:
        """Return the loss of one release to whoever knows that a device took part."""

    def state(self) -> Mapping[str, object]:
        """Return what must outlive a round for the next one to be sound, as JSON values."""


@dataclass(frozen=True, slots=True)
class GaussianMechanism:
    """Independent rounded Gaussian noise in every round.

    Attributes:
        lattice: Grid of the sum, which fixes the sensitivity. Public.
        noise_multiplier: Standard deviation of the noise on the sum / clip norm: finite, above 0.
            Public.

    Examples:
        >>> mechanism = GaussianMechanism(Lattice(clip_norm=1.0), noise_multiplier=2.0)
        >>> mechanism.tau
        131072.0
        >>> round(mechanism.epsilon(delta=1e-5), 3)
        1.993
    """

    lattice: Lattice
    noise_multiplier: float

    def __post_init__(self) -> None:
        """Refuse to add no noise: that is ``NoNoise``, in so many words."""
        if not 0.0 < self.noise_multiplier < math.inf:
            raise ValueError(f"noise_multiplier must be finite, > 0, got {self.noise_multiplier}")
        total_variation(0, self.tau)  # refuses a tau the sampler does not serve

    @property
    def sensitivity(self) -> int:
        """L2 bound of one device's integers, in lattice units. Public."""
        return self.lattice.bound

    @property
    def tau(self) -> float:
        """Standard deviation of the noise, in lattice units."""
        return self.noise_multiplier * self.lattice.bound

    def noise(self, dim: int, stream: NoiseStream) -> npt.NDArray[np.int64]:
        """Draw the noise of one release: int64 of shape ``(dim,)``. Secret."""
        return rounded_gaussian(dim, self.tau, stream)

    def epsilon(self, delta: float) -> float:
        """Return the exact loss of one release to whoever knows that a device took part."""
        return gaussian_epsilon(1.0 / self.noise_multiplier, delta)

    def state(self) -> Mapping[str, object]:
        """Return nothing: rounds share no noise."""
        return {}

    def sampler_delta(self, dim: int, rounds: int) -> float:
        """Return what the sampler's error adds to delta over a run of ``rounds`` releases."""
        return total_variation(dim * rounds, self.tau)

    def sampler_epsilon(self, dim: int, rounds: int) -> float:
        """Return what the sampler's error adds to epsilon over a run, some 1e-7."""
        return epsilon_excess(dim * rounds, self.tau)


@dataclass(frozen=True, slots=True)
class NoNoise:
    """No noise and no protection: a laboratory's reference, for public data only.

    Attributes:
        lattice: Grid of the sum. Public.

    Examples:
        >>> NoNoise(Lattice(clip_norm=1.0)).epsilon(delta=1e-5)
        inf
    """

    lattice: Lattice

    @property
    def sensitivity(self) -> int:
        """L2 bound of one device's integers, in lattice units. Public."""
        return self.lattice.bound

    def noise(self, dim: int, stream: NoiseStream) -> npt.NDArray[np.int64]:
        """Return zeros of shape ``(dim,)``; the stream is not touched."""
        del stream
        return np.zeros(dim, dtype=np.int64)

    def epsilon(self, delta: float) -> float:
        """Return infinity, whatever ``delta``."""
        del delta
        return math.inf

    def state(self) -> Mapping[str, object]:
        """Return nothing."""
        return {}
