"""The space a Gram statistic lives in: popular items one by one, the rest by their content.

A Gram matrix over a whole catalog is too large to send and mostly noise. The head, the most popular
items by an earlier release, keeps a coordinate each; the tail shares a few directions made of
public content. The columns are orthonormal, so that a projection never has a larger norm.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_NEGLIGIBLE = 1e-8  # of the largest singular value: below it there is only rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Orthonormal columns over the catalog: head items, then content directions of the tail.

    Public: made of a released popularity and public features.

    Attributes:
        place: int64 of shape ``(items,)``: an item's coordinate in the head, -1 in the tail.
        head: Items of the head, int64 of shape ``(H,)``, ascending.
        tail: float64 of shape ``(items, c)``: orthonormal columns, zero in the rows of the head.
    """

    place: npt.NDArray[np.int64] = field(repr=False)
    head: npt.NDArray[np.int64] = field(repr=False)
    tail: Vector = field(repr=False)

    @property
    def size(self) -> int:
        """Coordinates m: H of the head and c of the tail."""
        return len(self.head) + self.tail.shape[1]

    @property
    def length(self) -> int:
        """Entries of a packed symmetric matrix over the space: m(m + 1)/2."""
        return self.size * (self.size + 1) // 2

    def dense(self) -> Vector:
        """Return the columns as a matrix of shape ``(items, m)``."""
        columns = np.zeros((len(self.place), self.size))
        columns[self.head, np.arange(len(self.head))] = 1.0
        columns[:, len(self.head) :] = self.tail
        return columns

    @classmethod
    def of(
        cls,
        popularity: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
        head: int,
    ) -> Self:
        """Build the space from what every device is sent; the same on each, up to rounding.

        Args:
            popularity: Cleaned released popularity p, above 0, shape ``(items,)``.
            features: Public content F of shape ``(items, f)``, without a constant column.
            weights: Coefficients of shape ``(f + 1, c)`` from ``tail_weights``.
            head: Items of the head, at most the catalog; ties go to the smaller index.
        """
        chosen = head_items(popularity, head)
        place = np.full(len(popularity), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        tail = _scaled(popularity, features, place) @ weights.astype(np.float64)
        return cls(place=place, head=chosen, tail=tail)


def head_items(popularity: npt.NDArray[np.float32], head: int) -> npt.NDArray[np.int64]:
    """Return the ``head`` most popular items, ascending; ties go to the smaller index."""
    order = np.argsort(-popularity.astype(np.float64), kind="stable")
    return np.sort(order[:head]).astype(np.int64)


def tail_weights(
    popularity: npt.NDArray[np.float32], features: npt.NDArray[np.float32], head: int
) -> npt.NDArray[np.float32]:
    """Return coefficients that make the tail's content orthonormal, shape ``(f + 1, c)``.

    The directions are the left singular vectors of diag(sqrt p) [F | 1] over the tail. A QR would
    not do: content columns that add up to the constant leave one of rounding noise alone.

    Args:
        popularity: Cleaned released popularity, above 0, shape ``(items,)``.
        features: Public content of shape ``(items, f)``; may have no column.
        head: Items of the head.
    """
    place = np.full(len(popularity), -1, np.int64)
    chosen = head_items(popularity, head)
    place[chosen] = np.arange(len(chosen))
    scaled = _scaled(popularity, features, place)
    if not scaled.any():
        return np.zeros((scaled.shape[1], 0), np.float32)
    _, values, right = np.linalg.svd(scaled, full_matrices=False)
    kept = values > _NEGLIGIBLE * values[0]
    return (right[kept].T / values[kept]).astype(np.float32)


def _scaled(
    popularity: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    place: npt.NDArray[np.int64],
) -> Vector:
    """Return diag(sqrt p) [F | 1] in float64, zero in the rows of the head."""
    content = np.hstack((features, np.ones((len(features), 1), np.float32))).astype(np.float64)
    content *= np.sqrt(popularity.astype(np.float64))[:, None]
    content[place >= 0] = 0.0
    return content


def pack(matrix: Vector) -> Vector:
    """Return a symmetric matrix as a vector of the same norm: (i, i), then sqrt(2) (i, j), by row.

    Examples:
        >>> pack(np.array([[1.0, 2.0], [2.0, 3.0]])).round(3)
        array([1.   , 2.828, 3.   ])
    """
    rows, columns = np.triu_indices(len(matrix))
    return matrix[rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))


def unpack(vector: Vector, size: int) -> Vector:
    """Return the symmetric matrix of a vector made by ``pack``.

    Raises:
        ValueError: If the vector has not the length of ``size``.
    """
    if vector.shape != (size * (size + 1) // 2,):
        raise ValueError(f"a packed matrix of size {size} has another length than {vector.shape}")
    matrix = np.zeros((size, size))
    rows, columns = np.triu_indices(size)
    matrix[rows, columns] = vector / np.where(rows == columns, 1.0, np.sqrt(2.0))
    return matrix + np.triu(matrix, 1).T
