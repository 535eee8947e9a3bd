"""Turn independent integer noise into BLT noise, exactly and step by step.

The recursion of https://arxiv.org/abs/2404.16706, section 5, on integers: buffers s_j start at 0,
y = z - rint(sum_j omega_j s_j), s_j <- rint(theta_j s_j) + y. Only integers leave it: with a real
y on a rounded sum, L y would have the sums before noise in its fractional part. ``blt`` says what
the rounding costs.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from .blt import BUFFER_LIMIT, BltParameters

Integers = npt.NDArray[np.int64]

_DTYPE: Final = np.dtype(np.int64)


class CorrelatedNoise:
    """State of one run's noise; every round of the run, void or not, takes one step.

    Each step is a function of the state and of z alone, computed entry by entry with single
    IEEE 754 operations, so that every machine and every restart gets the same integers: the
    bound on two worlds needs that.

    Args:
        p: Strategy of J buffers. Public.
        dim: Coordinates of one release, at least 1. Public.
        buffers: int64 of shape ``(J, dim)`` to go on from; None starts a run. Secret.
        steps: Steps taken so far, at least 0. Public.

    Raises:
        ValueError: If the buffers have another shape or type, or are missing after step 0: a
            run whose buffers are lost has ended.
        OverflowError: If a buffer passes ``BUFFER_LIMIT``.

    Examples:
        >>> noise = CorrelatedNoise(BltParameters(theta=(0.5,), omega=(0.5,)), dim=1)
        >>> [noise.step(np.array([z])).tolist() for z in (100, 0, 0)]
        [[100], [-50], [0]]
        >>> noise
        CorrelatedNoise(dim=1, steps=3)
    """

    __slots__ = ("_buffers", "_p", "_steps")

    def __init__(
        self, p: BltParameters, dim: int, buffers: Integers | None = None, steps: int = 0
    ) -> None:
        """Start a run, or go on with a copy of the given buffers."""
        if dim < 1 or steps < 0:
            raise ValueError(f"dim must be at least 1 and steps at least 0, got {dim}, {steps}")
        shape = (len(p.theta), dim)
        if buffers is None:
            if steps:
                raise ValueError(f"the buffers after {steps} steps are missing: the run has ended")
            buffers = np.zeros(shape, dtype=np.int64)
        _check(buffers, shape, "buffers")
        self._p = p
        self._buffers = buffers.copy()
        self._steps = steps

    def __repr__(self) -> str:
        """Show what is public, never the buffers."""
        return f"CorrelatedNoise(dim={self._buffers.shape[1]}, steps={self._steps})"

    @property
    def buffers(self) -> Integers:
        """Copy of the buffers, int64 of shape ``(J, dim)``, to be stored sealed. Secret."""
        return self._buffers.copy()

    @property
    def steps(self) -> int:
        """Steps taken so far. Public."""
        return self._steps

    def step(self, z: Integers) -> Integers:
        """Take one step.

        Args:
            z: int64 of shape ``(dim,)``: fresh independent noise, used for nothing else. Secret.

        Returns:
            y, int64 of shape ``(dim,)``: what this round adds to the sum, on the fine lattice.
            Secret until added.

        Raises:
            ValueError: If ``z`` has another shape or type.
            OverflowError: If ``z`` or a buffer passes ``BUFFER_LIMIT``. The state is then as
                before. This depends on noise alone, never on a contribution.
        """
        _check(z, self._buffers.shape[1:], "z")
        weighted = np.zeros(z.shape, dtype=np.float64)
        for omega, buffer in zip(self._p.omega, self._buffers, strict=True):
            weighted += omega * buffer
        y: Integers = z - np.rint(weighted).astype(np.int64)
        kept = np.rint(np.array(self._p.theta)[:, None] * self._buffers).astype(np.int64)
        kept += y
        _check(kept, self._buffers.shape, "buffers")
        self._buffers = kept
        self._steps += 1
        return y


def _check(values: Integers, shape: tuple[int, ...], name: str) -> None:
    if values.dtype != _DTYPE or values.shape != shape:
        raise ValueError(f"{name} must be int64 of shape {shape}, got {values.dtype}")
    if int(values.max()) > BUFFER_LIMIT or int(values.min()) < -BUFFER_LIMIT:
        raise OverflowError(f"{name} would pass {BUFFER_LIMIT}: choose fewer fine bits")
