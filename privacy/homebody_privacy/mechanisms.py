"""What turns sums of contributions into releases: noise, what it costs, and what it must remember.

Dwork and Roth, "The Algorithmic Foundations of Differential Privacy" (2014), appendix A, for the
Gaussian mechanism; ``noise`` for why rounding it to the lattice costs nothing; ``blt`` for noise
that is correlated over rounds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .blt import (
    MOST_MULTIPLIER,
    BltParameters,
    Participation,
    charged_sensitivity,
    fine_bits,
)
from .closed_form import gaussian_epsilon
from .correlated_noise import CorrelatedNoise
from .lattice import Lattice
from .noise import epsilon_excess, rounded_gaussian, total_variation
from .stream import NoiseStream

Integers = npt.NDArray[np.int64]
State = Mapping[str, npt.NDArray[Any]]


class Mechanism(Protocol):
    """Adds noise to sums of lattice integers, release after release.

    Every implementation guarantees: noise is integer, in lattice units / ``2**fine_bits``, drawn
    from the given stream alone, and independent of the sum.
    """

    @property
    def sensitivity(self) -> float:
        """Most one device moves what the noise must hide, in clip norms. Public."""

    @property
    def fine_bits(self) -> int:
        """How much finer than the lattice of the sums the noise is, in binary digits. Public."""

    def noise(self, dim: int, stream: NoiseStream) -> Integers:
        """Draw the noise of the next release: int64 of shape ``(dim,)``. Secret."""

    def epsilon(self, delta: float) -> float:
        """Return the loss of what one charge pays for, to whoever knows who takes part."""

    def state(self) -> State:
        """Return what must outlive a round for the next one to be sound. Secret."""

    def restore(self, state: State) -> None:
        """Continue from what ``state`` returned."""

    def sampler_delta(self, dim: int, rounds: int) -> float:
        """Return what the sampler's error adds to delta over a run of ``rounds`` releases."""

    def sampler_epsilon(self, dim: int, rounds: int) -> float:
        """Return what the sampler's error adds to epsilon over a run."""


@dataclass(frozen=True, slots=True)
class GaussianMechanism:
    """Independent rounded Gaussian noise in every round.

    Attributes:
        lattice: Grid of the sum. Public.
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
    def sensitivity(self) -> float:
        """One clip norm: one device adds to one sum."""
        return 1.0

    @property
    def fine_bits(self) -> int:
        """0: the noise lies on the lattice of the sums."""
        return 0

    @property
    def tau(self) -> float:
        """Standard deviation of the noise, in lattice units."""
        return self.noise_multiplier * self.lattice.bound

    def noise(self, dim: int, stream: NoiseStream) -> Integers:
        """Draw the noise of one release: int64 of shape ``(dim,)``. Secret."""
        return rounded_gaussian(dim, self.tau, stream)

    def epsilon(self, delta: float) -> float:
        """Return the exact loss of one release to whoever knows that a device took part."""
        return gaussian_epsilon(1.0 / self.noise_multiplier, delta)

    def state(self) -> State:
        """Return nothing: rounds share no noise."""
        return {}

    def restore(self, state: State) -> None:
        """Do nothing: rounds share no noise."""
        del state

    def sampler_delta(self, dim: int, rounds: int) -> float:
        """Return what the sampler's error adds to delta over a run of ``rounds`` releases."""
        return total_variation(dim * rounds, self.tau)

    def sampler_epsilon(self, dim: int, rounds: int) -> float:
        """Return what the sampler's error adds to epsilon over a run, some 1e-7."""
        return epsilon_excess(dim * rounds, self.tau)


class BltMechanism:
    """DP-FTRL: noise that cancels in running sums, one step of it for every round of a run.

    Args:
        lattice: Grid of the sum. Public.
        noise_multiplier: Standard deviation of the noise before correlation / clip norm: finite,
            above 0. Public.
        parameters: Strategy. Public.
        participation: How often a device joins; devices keep to it. Public.
        dim: Coordinates of a release, at least 1. Public.

    Guarantees:
        All releases of the run together are one Gaussian mechanism of mu = ``sensitivity`` /
        ``noise_multiplier`` under zero-out adjacency, also toward those who see who takes
        part, whatever is done with them in between (``blt``). A step's noise is drawn once; no
        step is repeated or left out.

    Examples:
        >>> mechanism = BltMechanism(
        ...     Lattice(clip_norm=1.0),
        ...     noise_multiplier=3.41,
        ...     parameters=BltParameters(theta=(0.9075,), omega=(0.46736,)),
        ...     participation=Participation(rounds=100, min_separation=25, max_rounds=4),
        ...     dim=1000,
        ... )
        >>> round(mechanism.sensitivity, 3), round(mechanism.epsilon(delta=1e-5), 2)
        (3.151, 3.99)
    """

    __slots__ = (
        "_dim",
        "_fine_bits",
        "_noise",
        "_parameters",
        "_participation",
        "lattice",
        "noise_multiplier",
        "tau",
    )

    def __init__(
        self,
        lattice: Lattice,
        *,
        noise_multiplier: float,
        parameters: BltParameters,
        participation: Participation,
        dim: int,
    ) -> None:
        """Start before the first round, with empty buffers."""
        if not 0.0 < noise_multiplier <= MOST_MULTIPLIER:  # past it a buffer could overflow
            raise ValueError(
                f"noise_multiplier must be > 0 and at most {MOST_MULTIPLIER}, got "
                f"{noise_multiplier}"
            )
        self.lattice = lattice
        """Grid of the sum. Public."""
        self.noise_multiplier = noise_multiplier
        """Deviation of the noise before correlation / clip norm. Public."""
        self._parameters = parameters
        self._participation = participation
        self._dim = dim
        self._fine_bits = fine_bits(parameters, participation, dim=dim, lattice_bits=lattice.bits)
        self.tau = noise_multiplier * 2.0 ** (lattice.bits + self.fine_bits)
        """Deviation of the noise before correlation, in units of the fine lattice."""
        total_variation(0, self.tau)  # refuses a tau the sampler does not serve
        self._noise = CorrelatedNoise(parameters, dim)

    @property
    def sensitivity(self) -> float:
        """Most one device moves the run's correlated sums, in clip norms, rounding included."""
        return charged_sensitivity(
            self._parameters,
            self._participation,
            dim=self._dim,
            lattice_bits=self.lattice.bits,
            fine_bits=self.fine_bits,
        )

    @property
    def fine_bits(self) -> int:
        """How much finer than the lattice of the sums the noise is, in binary digits. Public."""
        return self._fine_bits

    @property
    def steps(self) -> int:
        """Rounds drawn so far. Public."""
        return self._noise.steps

    def noise(self, dim: int, stream: NoiseStream) -> Integers:
        """Take the next step: int64 of shape ``(dim,)``, on the fine lattice. Secret.

        Raises:
            ValueError: If ``dim`` is not the mechanism's, or the run's steps are used up.
        """
        if dim != self._dim:
            raise ValueError(f"a release has {self._dim} coordinates, got {dim}")
        if self.steps >= self._participation.rounds:
            raise ValueError(f"the run was charged for {self._participation.rounds} rounds only")
        return self._noise.step(rounded_gaussian(dim, self.tau, stream))

    def epsilon(self, delta: float) -> float:
        """Return the exact loss of the whole run, to anyone."""
        return gaussian_epsilon(self.sensitivity / self.noise_multiplier, delta)

    def state(self) -> State:
        """Return buffers and steps. Secret: who knows them subtracts noise from later sums."""
        return {"buffers": self._noise.buffers, "steps": np.int64(self.steps).reshape(1)}

    def restore(self, state: State) -> None:
        """Continue from what ``state`` returned.

        Raises:
            ValueError: If the state does not fit the mechanism.
        """
        steps = int(state["steps"][0])
        if not 0 <= steps <= self._participation.rounds:
            raise ValueError("steps must be from 0 to the run's rounds")
        self._noise = CorrelatedNoise(self._parameters, self._dim, state["buffers"], steps)

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
    def sensitivity(self) -> float:
        """One clip norm: one device adds to one sum."""
        return 1.0

    @property
    def fine_bits(self) -> int:
        """0: there is no noise to be finer."""
        return 0

    def noise(self, dim: int, stream: NoiseStream) -> Integers:
        """Return zeros of shape ``(dim,)``; the stream is not touched."""
        del stream
        return np.zeros(dim, dtype=np.int64)

    def epsilon(self, delta: float) -> float:
        """Return infinity, whatever ``delta``."""
        del delta
        return math.inf

    def state(self) -> State:
        """Return nothing."""
        return {}

    def restore(self, state: State) -> None:
        """Do nothing."""
        del state

    def sampler_delta(self, dim: int, rounds: int) -> float:
        """Return 0: nothing is drawn."""
        del dim, rounds
        return 0.0

    def sampler_epsilon(self, dim: int, rounds: int) -> float:
        """Return 0: nothing is drawn."""
        del dim, rounds
        return 0.0
