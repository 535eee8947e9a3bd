"""The space a Gram statistic lives in: pairs of the most popular items.

A Gram matrix over a whole catalog is too large to send and mostly noise. The head, the most popular
items by an earlier release, is where pairs are frequent enough to be seen above the noise; what is
outside it is described by its content and popularity alone.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The head of a catalog. Public: made of a released popularity.

    Attributes:
        place: int64 of shape ``(items,)``: an item's coordinate in the head, -1 outside it.
        head: Items of the head, int64 of shape ``(H,)``, ascending.
    """

    place: npt.NDArray[np.int64] = field(repr=False)
    head: npt.NDArray[np.int64] = field(repr=False)

    @property
    def size(self) -> int:
        """Items H of the head."""
        return len(self.head)

    @property
    def length(self) -> int:
        """Pairs of different items: H(H - 1)/2."""
        return packed_length(self.size)

    @classmethod
    def of(cls, popularity: npt.NDArray[np.float32], head: int) -> Self:
        """Build the space from what every device is sent; the same on each.

        Args:
            popularity: Cleaned released popularity, shape ``(items,)``.
            head: Items of the head; a larger number than the catalog has means all of it. Ties go
                to the smaller index.
        """
        order = np.argsort(-popularity.astype(np.float64), kind="stable")
        chosen = np.sort(order[:head]).astype(np.int64)
        place = np.full(len(popularity), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        return cls(place=place, head=chosen)


def packed_length(head: int) -> int:
    """Return how many pairs of different items a head of this size has."""
    return head * (head - 1) // 2


def packed_place(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.int64]:
    """Return where pairs stand in a packed matrix, by row; a row is less than its column."""
    place: npt.NDArray[np.int64] = rows * (size - 1) - rows * (rows - 1) // 2 + columns - rows - 1
    return place


def unpack(vector: Vector, size: int) -> Vector:
    """Return the symmetric matrix of packed pairs, with a zero diagonal.

    Raises:
        ValueError: If the vector has not the length of ``size``.

    Examples:
        >>> unpack(np.array([1.0, 2.0, 3.0]), 3)
        array([[0., 1., 2.],
               [1., 0., 3.],
               [2., 3., 0.]])
    """
    if vector.shape != (packed_length(size),):
        raise ValueError(f"packed pairs of {size} items have another length than {vector.shape}")
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size, 1)] = vector
    return matrix + matrix.T
