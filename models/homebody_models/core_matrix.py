"""A symmetric matrix as a flat vector of the same norm: what rounds train on top of statistics."""

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


def with_core(statistics: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    """Return a statistics' model, flat, followed by the packed identity of ``dim``: M = 1."""
    return np.concatenate((statistics, pack_core(np.eye(dim)))).astype(np.float32)


def pack_core(matrix: Vector) -> Vector:
    """Return a symmetric matrix as a vector of the same norm: (i, i), then sqrt(2) (i, j), by row.

    Examples:
        >>> pack_core(np.array([[1.0, 2.0], [2.0, 3.0]])).round(3)
        array([1.   , 2.828, 3.   ])
    """
    rows, columns = np.triu_indices(len(matrix))
    packed: Vector = matrix[rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))
    return packed


def unpack_core(vector: npt.NDArray[np.floating], dim: int) -> Vector:
    """Return the symmetric matrix of a vector made by ``pack_core``."""
    matrix = np.zeros((dim, dim))
    rows, columns = np.triu_indices(dim)
    matrix[rows, columns] = vector / np.where(rows == columns, 1.0, np.sqrt(2.0))
    matrix[columns, rows] = matrix[rows, columns]
    return matrix
