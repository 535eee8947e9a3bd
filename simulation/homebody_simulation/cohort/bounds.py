"""The bound of one device's contribution as compiled code applies it, constants made once."""

from dataclasses import dataclass
from typing import Self

from homebody_privacy.clipping import clip_margin
from homebody_privacy.lattice import SHRINK, Lattice


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What ``Lattice.contribution`` of a vector of one length works with.

    An update of norm r is multiplied by ``1 if r <= clip else clip / r``, then by ``scale``, and
    truncated toward zero. The sum of its squares must not pass ``squares``.

    Attributes:
        clip: Norm an update is scaled down to, in model units: the clip norm less a margin for the
            rounding of the norm.
        scale: Lattice units of one model unit, less a margin for the rounding of the product.
        squares: Square of the largest norm of one device's integers, at most 2**40.
    """

    clip: float
    scale: float
    squares: int

    @classmethod
    def of(cls, lattice: Lattice, size: int) -> Self:
        """Return the bound of updates of ``size`` entries."""
        return cls(
            clip=lattice.clip_norm * (1.0 - clip_margin(size)),
            scale=SHRINK / lattice.step,
            squares=lattice.bound**2,
        )
