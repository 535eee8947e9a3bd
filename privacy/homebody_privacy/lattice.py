"""Fixed-point grid: what one device adds to a sum, as integers with an exact bound.

Integers make the sum independent of order, leave no floating-point tail to attack (Mironov 2012;
https://arxiv.org/abs/2107.10138) and are what secure aggregation needs. Values are truncated
toward zero, so no norm ever grows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .clipping import clip_update

BITS: Final = range(16, 21)
"""Allowed lattice bits: fewer truncate dense updates away, more leave room for few devices."""

RECORD_BITS: Final = 20
"""Lattice bits of the record level: its sums never leave the device, so the finest will do."""

SHRINK: Final = 1.0 - 2.0**-40
"""Factor on the way to the grid that dwarfs every rounding between the clip and the grid."""

_HALF: Final = 27  # half of the binary digits of what is squared


@dataclass(frozen=True, slots=True)
class Lattice:
    """Grid of step ``clip_norm / 2**bits``; one device's integers have L2 norm <= ``2**bits``.

    Attributes:
        clip_norm: L2 bound of one device's update, in model units. Public.
        bits: Binary digits of one clip norm, 16 to 20. Public.

    Examples:
        >>> lattice = Lattice(clip_norm=1.0)
        >>> lattice.contribution([0.3, -0.4])
        array([ 19660, -26214], dtype=int32)
        >>> lattice.decode(lattice.contribution([0.3, -0.4])).round(4)
        array([ 0.3, -0.4])
    """

    clip_norm: float
    bits: int = 16

    def __post_init__(self) -> None:
        """Refuse bounds no sum could keep."""
        clip_update((), self.clip_norm)  # the same range, checked in one place
        if self.bits not in BITS:
            raise ValueError(f"bits must be from {BITS[0]} to {BITS[-1]}, got {self.bits!r}")

    @property
    def step(self) -> float:
        """Model units of one lattice unit."""
        return self.clip_norm / self.bound

    @property
    def bound(self) -> int:
        """L2 norm one device's integers never pass: ``2**bits``."""
        return 1 << self.bits

    @property
    def max_devices(self) -> int:
        """Most devices whose sum fits a 32-bit word: n * 2**bits < 2**31."""
        return ((1 << 31) - 1) // self.bound

    @property
    def max_summed(self) -> int:
        """Most devices whose sum a float64 holds exactly: n * 2**bits < 2**53."""
        return ((1 << 53) - 1) // self.bound

    def encode(self, clipped: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """Truncate a clipped update to the grid, toward zero.

        Args:
            clipped: Finite float64 of shape ``(dim,)``, norm at most ``clip_norm``. Secret.

        Returns:
            int32 of shape ``(dim,)``, as secret as ``clipped``; zeros if its exact norm would pass
            ``2**bits``, so that an unclipped update adds nothing rather than too much.
        """
        scaled = np.trunc(clipped * (SHRINK / self.step))
        if not (np.abs(scaled) <= self.bound).all():  # false for NaN too
            return np.zeros(scaled.shape, dtype=np.int32)
        units = scaled.astype(np.int32)
        return units if self.is_within_bound(units) else np.zeros_like(units)

    def contribution(self, update: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Clip an update and put it on the grid: all one device may add to the sum.

        Args:
            update: Client update of shape ``(dim,)``, in model units. Secret.

        Returns:
            int32 of shape ``(dim,)``, L2 norm at most ``2**bits`` exactly, whatever came in;
            zeros for a non-finite update. Secret.

        Raises:
            ValueError: If ``update`` is not one-dimensional.
        """
        return self.encode(clip_update(update, self.clip_norm))

    def is_within_bound(self, v: npt.NDArray[np.integer], devices: int = 1) -> bool:
        """Tell whether integers could be the sum of ``devices`` contributions.

        Args:
            v: Integers of any shape. Secret.
            devices: How many contributions, from 1 to ``max_summed``.

        Returns:
            Whether the L2 norm is at most ``devices * 2**bits``, in exact integer arithmetic.

        Raises:
            ValueError: If ``devices`` is out of range.
        """
        if not 1 <= devices <= self.max_summed:
            raise ValueError(f"devices must be from 1 to {self.max_summed}, got {devices}")
        limit = devices * self.bound
        if v.size == 0:
            return True
        most = max(int(v.max()), -int(v.min()))
        if most > limit:
            return False
        return _sum_of_squares(v.astype(np.int64, copy=False).reshape(-1), most) <= limit * limit

    def decode(self, total: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Turn lattice integers back into model units.

        Args:
            total: Integers of any shape, below 2**53 in size so that each is exact.

        Returns:
            float64 of the same shape: integer multiples of ``step``, as secret as ``total``.
        """
        return np.asarray(total, dtype=np.float64) * self.step


FIGURES: Final = Lattice(clip_norm=1.0)
"""The lattice of figures about people: one device's vector has norm at most 1."""


def _sum_of_squares(v: npt.NDArray[np.int64], most: int) -> int:
    """Return the sum of squares of integers of size at most ``most``, below 2**53, exactly."""
    if most * most * v.size < 1 << 63:
        return int(np.dot(v, v))
    if most < 1 << 31:
        return _exact_sum(v * v)
    high, low = v >> _HALF, v & ((1 << _HALF) - 1)  # v = high * 2**27 + low, for negative v too
    squares, crossed = _exact_sum(high * high) << (2 * _HALF), _exact_sum(high * low)
    return squares + (crossed << (_HALF + 1)) + _exact_sum(low * low)


def _exact_sum(v: npt.NDArray[np.int64]) -> int:
    """Return the sum of up to 2**31 integers of any size: numpy's own would wrap around."""
    return (int((v >> 32).sum()) << 32) + int((v & 0xFFFFFFFF).sum())
