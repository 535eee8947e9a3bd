"""Clip the updates of a chunk of devices and put them on the lattice, in float64."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from homebody_simulation.cohort.bounds import Bounds

_LEAST = 1e-100  # the square of a norm below would vanish
_MOST = 1e100  # likewise, overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """What a chunk of devices adds. Secret.

    Attributes:
        units: float64 of shape ``(n, trained_size)``: whole numbers; zeros where ``odd``.
        norms: float64 of shape ``(n,)``: L2 norm of each update.
        odd: bool of shape ``(n,)``: devices left to the one-device path, for a number that is none
            or nearly, or integers beyond the bound.
    """

    units: Tensor = field(repr=False)
    norms: Tensor = field(repr=False)
    odd: Tensor = field(repr=False)


def bounded(gradients: Tensor, bounds: Bounds) -> Bounded:
    """Bound minus the gradients, as ``Lattice.contribution`` does, in their own memory.

    Args:
        gradients: float64 of shape ``(n, trained_size)``; overwritten.
        bounds: The bound of a vector of that size.
    """
    norms = torch.linalg.vector_norm(gradients, dim=1)
    odd = ~((norms > _LEAST) & (norms < _MOST))  # true for NaN too
    factors = torch.where(norms <= bounds.clip, bounds.scale, bounds.clip / norms * bounds.scale)
    units = gradients.mul_(-factors[:, None]).trunc_()
    # Whole numbers below 2**53: their order does not change the sum, and NaN is no less.
    odd |= ~(torch.einsum("ij,ij->i", units, units) <= bounds.squares)
    units[odd] = 0.0
    return Bounded(units=units, norms=norms, odd=odd)
