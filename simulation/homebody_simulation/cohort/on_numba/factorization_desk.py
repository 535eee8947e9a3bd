"""The memory a thread trains devices with, kept from round to round."""

from dataclasses import dataclass, field
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from homebody_simulation.cohort.on_numba.factorization_memory import AHEAD, NEAR, Pass, Scratch

Scalar = TypeVar("Scalar", bound=np.generic)

_LINE = 64  # bytes: a row that begins with one takes no part of another


@dataclass(slots=True)
class Desk:
    """One thread's memory. Secret.

    Attributes:
        sums: int32 of shape ``(items * dim + biases,)``: what devices have contributed since it
            was emptied.
        scratch: For histories of at most ``longest`` events.
        longest: Likewise.
        devices: How many have contributed to ``sums``.
    """

    sums: npt.NDArray[np.int32] = field(repr=False)
    scratch: Scratch = field(repr=False)
    longest: int
    devices: int = 0

    @classmethod
    def of(cls, shape: tuple[int, int], biases: int, rules: Pass, longest: int) -> Self:
        """Return an empty desk for a table of some shape."""
        sums = aligned((shape[0] * shape[1] + biases,), np.int32)
        return cls(sums, _scratch(shape, rules, longest), longest)

    def make_room(self, shape: tuple[int, int], rules: Pass, longest: int) -> None:
        """Make sure that histories of ``longest`` events have room."""
        if longest > self.longest:
            self.scratch, self.longest = _scratch(shape, rules, longest), longest


def aligned(shape: tuple[int, ...], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    """Return zeros that begin with a cache line.

    Else each vector of a row would lie on two lines, which takes twice the time.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def _scratch(shape: tuple[int, int], rules: Pass, longest: int) -> Scratch:
    n_items, dim = shape
    own = rules.batch * (rules.negatives + 1)  # visits of a step, at most
    steps = longest // rules.batch + 2
    visits = (rules.negatives + 1) * longest + NEAR + AHEAD
    links = own * (steps + 1)
    return Scratch(
        base=np.zeros(1, np.int64),
        head=np.full(n_items, -1, np.int32),
        drawn=np.zeros(visits, np.uint32),
        item=np.zeros(visits, np.uint32),
        older=np.zeros(visits, np.int32),
        step=np.zeros(visits, np.uint32),
        met=np.zeros(visits, np.float32),
        wanted=np.zeros(visits, np.float32),
        logit=np.zeros(visits, np.float32),
        slope=np.zeros(visits, np.float32),
        coefficient=np.zeros(visits, np.float32),
        listed=np.zeros(visits, np.uint32),
        other=np.zeros(visits, np.uint32),
        link_from=np.zeros(links, np.uint32),
        link_to=np.zeros(links, np.uint32),
        path=aligned((steps, dim), np.float32),
        product=np.zeros(steps, np.float64),
        extra=np.zeros(steps, np.float64),
    )
