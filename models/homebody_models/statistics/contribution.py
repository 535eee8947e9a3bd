"""What one device adds to a statistic: norm at most 1 by construction, whatever it holds.

A device set to zero moves a sum by at most 1, so that one noise draw of standard deviation
1 / mu makes the release (mu)-Gaussian differentially private at user level; nothing is clipped, so
nothing is biased, and the length of a history stays private.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.statistics.space import Space

Vector = npt.NDArray[np.float64]

EVENTS: Final = 1_024
"""Newest events a device looks at: a longer history costs a square of its length."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """A vector by its entries that are not zero. Secret.

    Attributes:
        places: Ascending positions, int64, each once.
        values: float64 of the same shape.
    """

    places: npt.NDArray[np.int64] = field(repr=False)
    values: Vector = field(repr=False)


def popularity_statistic(history: npt.NDArray[np.integer]) -> Sparse:
    """Return a device's distinct items, divided by their norm: y / sqrt n.

    Guarantees:
        The norm is 1, or 0 for an empty history.
    """
    chosen = np.unique(history).astype(np.int64)
    return Sparse(chosen, np.full(len(chosen), 1.0 / np.sqrt(max(len(chosen), 1))))


def gram_statistic(history: npt.NDArray[np.integer], space: Space, window: float) -> Sparse:
    """Return a device's windowed Gram matrix in a space, packed.

    With X the one-hot rows of the history in order and K[s, t] = window ** |s - t|, it is
    Q^T X^T K X Q / |X^T K X|: pairs of items weighted by how close the device chose them.

    Args:
        history: Item indices, oldest first. Secret.
        space: Where the matrix lies. Public.
        window: Weight of a pair relative to one a step closer, in (0, 1]. Public.

    Guarantees:
        The norm is at most 1, as the columns of the space are orthonormal and the packing keeps
        norms; 0 for an empty history.
    """
    items, weights = _weights(np.asarray(history[-EVENTS:], np.int64), window)
    if not len(items):
        return Sparse(np.zeros(0, np.int64), np.zeros(0))
    weights /= np.linalg.norm(weights)
    place = space.place[items]
    in_head, in_tail = np.flatnonzero(place >= 0), np.flatnonzero(place < 0)
    own = place[in_head]
    content = space.tail[items[in_tail]]  # (tail items, c)
    h, c = len(space.head), content.shape[1]
    width = len(own) + (c if len(in_tail) else 0)
    block = np.empty((width, width))
    block[: len(own), : len(own)] = weights[np.ix_(in_head, in_head)]
    if len(in_tail):
        cross = weights[np.ix_(in_head, in_tail)] @ content
        block[: len(own), len(own) :] = cross
        block[len(own) :, : len(own)] = cross.T
        block[len(own) :, len(own) :] = content.T @ weights[np.ix_(in_tail, in_tail)] @ content
    at = np.concatenate((own, np.arange(h, h + c) if len(in_tail) else np.zeros(0, np.int64)))
    rows, columns = np.triu_indices(width)
    values = block[rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))
    return Sparse(_packed(at[rows], at[columns], space.size), values)


def _weights(items: npt.NDArray[np.int64], window: float) -> tuple[npt.NDArray[np.int64], Vector]:
    """Return the distinct items, ascending, and the weight of each pair of them."""
    distinct, slot = np.unique(items, return_inverse=True)
    steps = np.arange(len(items), dtype=np.float64)
    pairs = window ** np.abs(steps[:, None] - steps)
    if len(distinct) == len(items):
        order = np.argsort(slot)
        return distinct, pairs[np.ix_(order, order)]
    summed = np.zeros((len(distinct), len(items)))
    np.add.at(summed, slot, pairs)  # an item chosen twice adds up, on both sides
    weights = np.zeros((len(distinct), len(distinct)))
    np.add.at(weights, slot, np.ascontiguousarray(summed.T))
    return distinct, weights


def _packed(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.int64]:
    """Return positions in a packed matrix; rows are at most columns."""
    place: npt.NDArray[np.int64] = rows * size - rows * (rows - 1) // 2 + (columns - rows)
    return place
