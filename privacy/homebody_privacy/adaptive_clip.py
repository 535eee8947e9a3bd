"""Let the clip norm follow a quantile of the updates' norms, from a count that is noised.

Andrew et al., "Differentially Private Learning with Adaptive Clipping" (2021),
https://arxiv.org/abs/1905.03871. Each device says whether its update was within the clip norm; the
count is released with noise, and the next clip norm follows from the release alone. Sum and count
of a round are one Gaussian release (theorem 1 there), which is charged as such
(``PoissonRounds.count_multiplier``).

A device adds +1 to the count when its update was within the clip norm and -1 when it was clipped:
its vote moves the count by at most 1, so ``count_multiplier`` is the noise's deviation in votes.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .noise import rounded_gaussian
from .stream import NoiseStream

WITHIN = 1
"""Vote of a device whose update was within the clip norm."""

CLIPPED = -1
"""Vote of a device whose update was clipped."""

ABSTAINED = 0
"""Vote of a device without a finite update: the same as that of one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveClip:
    """How the clip norm moves; all fields public.

    Attributes:
        cohort_size: Expected cohort: the constant denominator, at least 1.
        count_multiplier: Standard deviation of the noise on the count of votes, at least 1.
        quantile: Share of updates that should be within the clip norm, above 0 and below 1.
        rate: Step of the logarithm of the clip norm per unit of share, above 0.

    Examples:
        >>> clip = AdaptiveClip.for_cohort(100)
        >>> round(clip.following(1.0, share=0.9), 4), round(clip.following(1.0, share=0.1), 4)
        (0.9231, 1.0833)
    """

    cohort_size: int
    count_multiplier: float
    quantile: float = 0.5
    rate: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what would not settle, or counts without noise."""
        if self.cohort_size < 1:
            raise ValueError(f"cohort_size must be at least 1, got {self.cohort_size}")
        if not 1.0 <= self.count_multiplier < math.inf:
            raise ValueError(f"count_multiplier must be at least 1, got {self.count_multiplier}")
        if not 0.0 < self.quantile < 1.0:
            raise ValueError(f"quantile must be above 0 and below 1, got {self.quantile}")
        if not 0.0 < self.rate < math.inf:
            raise ValueError(f"rate must be finite and above 0, got {self.rate}")

    @classmethod
    def for_cohort(cls, cohort_size: int) -> "AdaptiveClip":
        """Return the paper's settings: noise of a twentieth of the cohort, here in votes."""
        return cls(cohort_size=cohort_size, count_multiplier=max(1.0, cohort_size / 10.0))

    def released_share(self, votes: int, stream: NoiseStream) -> float:
        """Release the share of updates within the clip norm.

        Args:
            votes: Sum of the votes of those who came. Secret.
            stream: Keystream of this use and round alone. Secret.

        Returns:
            The noised share, in [0, 1]: 1/2 + votes / (2 * expected cohort), cut. Public. Who is
            missing counts half a vote for either side, so the denominator is a constant.
        """
        noised = votes + int(rounded_gaussian(1, self.count_multiplier, stream)[0])
        return min(1.0, max(0.0, 0.5 + noised / (2.0 * self.cohort_size)))

    def following(self, clip_norm: float, share: float) -> float:
        """Return the next clip norm: smaller where more than the quantile were within it.

        Args:
            clip_norm: The round's clip norm.
            share: What ``released_share`` returned.
        """
        return clip_norm * math.exp(-self.rate * (share - self.quantile))


def vote(update: npt.NDArray[np.float64], clip_norm: float) -> int:
    """Return a device's vote: +1 within, -1 clipped, 0 without a finite update. Secret.

    Args:
        update: Client update of shape ``(dim,)`` before clipping. Secret.
        clip_norm: The round's clip norm. Public.
    """
    with np.errstate(over="ignore"):  # a norm too large for a float64 is clipped like any other
        norm = float(np.linalg.norm(update))
    if not np.isfinite(update).all():
        return ABSTAINED
    return WITHIN if norm <= clip_norm else CLIPPED


def sum_multiplier(effective: float, count_multiplier: float) -> float:
    """Return the noise multiplier of the sum so that sum and count together cost ``effective``.

    Args:
        effective: Noise multiplier that the budget asks of the two together, above 0.
        count_multiplier: That of the count.

    Raises:
        ValueError: If the count alone costs as much.
    """
    room = effective**-2 - count_multiplier**-2
    if not room > 0.0:
        raise ValueError(f"a count with noise {count_multiplier} costs more than the whole round")
    return 1.0 / math.sqrt(room)
