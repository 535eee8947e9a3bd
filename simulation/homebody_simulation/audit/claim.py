"""What an audit holds a run to: the figures its claim rests on."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claim:
    """The claim of one run at user level, zero-out adjacency. Public.

    Attributes:
        mechanism: Name of the mechanism.
        epsilon: Accounted epsilon of the audited run: an upper bound, if the claim holds.
        delta: Failure chance of the claim.
        noise_multiplier: Noise standard deviation on the sum / clip norm, above 0.
        coefficients: First column of the lower-triangular Toeplitz matrix L, of shape
            ``(rounds,)``: L times the released sums carries independent noise. Starts with 1; all
            zeros after it where rounds share no noise.
        sampling_rate: Probability that a device is drawn for a round, where epsilon takes credit
            for it; None where the claim holds against whoever sees who took part.
        mu: Sensitivity over noise of the whole run, where its trade-off curve is a Gaussian's;
            None where sampling makes it another.
        min_separation: Least distance of two joins of one device, in rounds.
        max_rounds: Most rounds one device joins.
    """

    mechanism: str
    epsilon: float
    delta: float
    noise_multiplier: float
    coefficients: npt.NDArray[np.float64] = field(repr=False)
    sampling_rate: float | None
    mu: float | None
    min_separation: int
    max_rounds: int

    def __post_init__(self) -> None:
        """Refuse a claim no audit could test."""
        if not 0.0 < self.epsilon < math.inf or not 0.0 < self.delta < 1.0:
            raise ValueError("epsilon must be finite and above 0, delta above 0 and below 1")
        if not 0.0 < self.noise_multiplier < math.inf:
            raise ValueError(f"noise_multiplier must be finite, > 0, got {self.noise_multiplier}")
        if self.coefficients.ndim != 1 or self.rounds < 1 or self.coefficients[0] != 1.0:
            raise ValueError("coefficients must be one-dimensional and start with 1")
        if self.sampling_rate is not None and not 0.0 < self.sampling_rate <= 1.0:
            raise ValueError(f"sampling_rate must be in (0, 1], got {self.sampling_rate}")
        if self.mu is not None and not 0.0 < self.mu < math.inf:
            raise ValueError(f"mu must be finite and above 0, got {self.mu}")
        if self.min_separation < 1 or self.max_rounds < 1:
            raise ValueError("min_separation and max_rounds must be at least 1")

    @property
    def rounds(self) -> int:
        """Rounds of the run."""
        return len(self.coefficients)


def independent(rounds: int) -> npt.NDArray[np.float64]:
    """Return the coefficients of a mechanism whose rounds share no noise.

    Examples:
        >>> independent(3).tolist()
        [1.0, 0.0, 0.0]
    """
    coefficients = np.zeros(rounds)
    coefficients[0] = 1.0
    return coefficients
