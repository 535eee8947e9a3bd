"""What an engine asks of a kernel: one model, many devices, one sum on the lattice.

A kernel knows the maths of a model and nothing of rounds, keys or messages. Whatever it runs on,
it keeps to the arithmetic of one device: the update is made and put on the lattice in float32 or
better, per coordinate of the whole device; its norm and the clip factor are float64. The bound
rests on none of that: the integers' own sum of squares is what is checked, exactly.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from homebody_models.statistics.space import Space
from homebody_privacy.lattice import Lattice


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Some devices of a population in one round. Secret, but for the lattice.

    Attributes:
        ptr: int64 of shape ``(devices + 1,)``; device u owns ``items[ptr[u]:ptr[u + 1]]``. It may
            be memory-mapped, and read-only.
        items: int32 of shape ``(events,)``, oldest first; likewise.
        rows: int64 of shape ``(n,)``: the devices, without repeats.
        keys: uint32 of shape ``(n,)``: what ``Draws`` takes for each of them.
        lattice: Bound and step of one device's contribution.
        threads: Threads to use, at least 1; the result does not depend on it.
        per_device: Whether ``Sums.each`` is wanted.
    """

    ptr: npt.NDArray[np.int64] = field(repr=False)
    items: npt.NDArray[np.int32] = field(repr=False)
    rows: npt.NDArray[np.int64] = field(repr=False)
    keys: npt.NDArray[np.uint32] = field(repr=False)
    lattice: Lattice
    threads: int = 1
    per_device: bool = False

    def __post_init__(self) -> None:
        """Refuse work that does not say whose it is."""
        if self.rows.shape != self.keys.shape or self.rows.ndim != 1:
            raise ValueError("rows and keys must be one-dimensional and of the same length")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What a kernel made of its work. Secret.

    Attributes:
        sum: int64 of shape ``(trained_size,)``.
        norms: float64 of shape ``(n,)``: L2 norm of each update before it is clipped, in model
            units; 0 for an empty one, NaN for one that is not finite. It stays in the engine.
        status: uint8 of shape ``(n,)``, a ``Status`` for each device.
        each: int64 of shape ``(n, trained_size)``, or None.
    """

    sum: npt.NDArray[np.int64] = field(repr=False)
    norms: npt.NDArray[np.float64] = field(repr=False)
    status: npt.NDArray[np.uint8] = field(repr=False)
    each: npt.NDArray[np.int64] | None = field(repr=False, default=None)


class Kernel(Protocol):
    """One model on one kind of processor. Its state is public: caches of what was broadcast."""

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute.

        For each device it is ``lattice.contribution(-local_gradient(...).vector)`` with the
        device's own ``Draws``, up to one lattice step in a few coordinates, where float32 sums of
        another order fall to the other side of a step.

        Args:
            parameters: Broadcast model, flat, of shape ``(size,)``.
            work: Whose, and how it is bounded.
        """
        ...


class Counter(Protocol):
    """One-shot statistics on one kind of processor: exactly what the devices would send in turn."""

    def popularity(self, work: Work, length: int) -> npt.NDArray[np.int64]:
        """Return the sum of the devices' popularity statistics, of shape ``(length,)``. Secret.

        Args:
            work: Whose, and how it is bounded; nothing is drawn.
            length: Items of the catalog.

        Raises:
            ValueError: If a row is no device.
        """
        ...

    def pairs(self, work: Work, space: Space, window: float) -> npt.NDArray[np.int64]:
        """Return the sum of the devices' Gram statistics, of shape ``(space.length,)``. Secret.

        Args:
            work: Whose, and how it is bounded; nothing is drawn.
            space: Where the matrix lies.
            window: Weight that a step further costs beyond the harmonic one, in (0, 1].

        Raises:
            ValueError: If a row is no device.
        """
        ...
