"""How close together and how often a device joined: what correlated noise is calibrated for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from homebody_simulation.audit.claim import Claim
from homebody_simulation.audit.projections import Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Joins:
    """Joins of the canaries, counted; no statistic.

    Attributes:
        closest: Least distance of two joins of one canary, in rounds; None if none joined twice.
        min_separation: The claim's.
        most: Most rounds one canary joined.
        max_rounds: The claim's.
    """

    closest: int | None
    min_separation: int
    most: int
    max_rounds: int

    @classmethod
    def of(cls, joined: Flags, claim: Claim) -> Self:
        """Count the joins of canaries by rounds."""
        canary, number = np.nonzero(joined)  # by canary, then by round
        same = canary[1:] == canary[:-1]
        apart = np.diff(number)[same]
        return cls(
            closest=int(apart.min()) if apart.size else None,
            min_separation=claim.min_separation,
            most=int(joined.sum(axis=1).max()),
            max_rounds=claim.max_rounds,
        )

    @property
    def findings(self) -> Iterator[str]:
        """What refutes the claim."""
        if self.closest is not None and self.closest < self.min_separation:
            yield (
                f"A device joined again after {self.closest} rounds; the claim says "
                f"{self.min_separation} at least."
            )
        if self.most > self.max_rounds:
            yield f"A device joined {self.most} rounds; the claim says {self.max_rounds} at most."
