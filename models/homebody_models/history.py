"""Which events form the user vector, and with what weight: one rule for training and for ranking.

A user vector is made of the newest events. An event's weight is ``history_decay ** age``, where the
newest event has age 0; an item chosen twice fills two slots and so counts with both weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.history_columns import Histories

SLOTS: Final = 64
"""Most events the inference contract has room for."""

SameLength = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Rows of histories, their items, and the weights they share."""

_NO_HISTORY: Final = 1e-6  # added to the sum of weights, so that an empty history divides


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """The newest events and their weights. Public.

    Attributes:
        history_max: Newest events used, in 1..64.
        history_decay: Weight of an event relative to the next newer one, in (0, 1].

    Examples:
        >>> items, weights = HistoryWindow(3, 0.5).slots([7, 7, 2, 9])
        >>> items, weights
        (array([7, 2, 9]), array([0.25, 0.5 , 1.  ]))
    """

    history_max: int
    history_decay: float

    def __post_init__(self) -> None:
        """Refuse a window that no device could apply."""
        if not 1 <= self.history_max <= SLOTS:
            raise ValueError(f"history_max must be in 1..{SLOTS}, got {self.history_max}")
        if not 0.0 < self.history_decay <= 1.0:
            raise ValueError(f"history_decay must be in (0, 1], got {self.history_decay!r}")

    def slots(
        self, history: Sequence[int] | npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return items and weights of the newest events, newest last; both may be empty."""
        items = np.asarray(history[-self.history_max :], dtype=np.int64)
        ages = np.arange(len(items) - 1, -1, -1, dtype=np.float64)
        return items, self.history_decay**ages

    def shares(
        self, histories: Sequence[npt.NDArray[np.integer]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return items and weights that sum to 1 for many histories, padded.

        Args:
            histories: One array of item indices a device, oldest first, or columns of them. Secret.

        Returns:
            Two arrays of shape ``(len(histories), history_max)``: items (0 in an unused slot) and
            weights, which are divided by (their sum + 1e-6) as in ranking (0 in an unused slot).
        """
        columns = Histories.of(histories)
        used = np.minimum(columns.lengths, self.history_max)
        shares = _shares_by_length(self.history_max, self.history_decay)
        return columns.slots(self.history_max), shares[used]

    def by_length(
        self, histories: Sequence[npt.NDArray[np.integer]], most: int = 64
    ) -> Iterator[SameLength]:
        """Yield what ``slots`` returns for some histories at a time, all of them as long.

        Weights then are the same for all, and no padding changes the order of a sum: what is
        computed for many has the bits of what is computed for one.

        Args:
            histories: One array of item indices a device, or columns of them. Secret.
            most: Histories at a time, at least 1.

        Yields:
            Rows of the histories, their items of shape ``(rows, slots)`` and weights of shape
            ``(slots,)``. An empty history is left out.
        """
        newest = Histories.of(histories).newest(self.history_max)
        lengths = newest.lengths
        order = np.argsort(lengths, kind="stable")
        bounds = np.searchsorted(lengths[order], np.arange(1, self.history_max + 2))
        for length in range(1, self.history_max + 1):
            _, weights = self.slots(range(length))
            for start in range(bounds[length - 1], bounds[length], most):
                rows = order[start : min(start + most, bounds[length])]
                places = newest.starts[rows, None] + np.arange(length)
                yield rows, newest.items[places].astype(np.int64), weights


@lru_cache(maxsize=16)
def _shares_by_length(history_max: int, history_decay: float) -> npt.NDArray[np.float32]:
    """Return a row of padded weights for each number of events from 0 to ``history_max``."""
    rows = np.zeros((history_max + 1, history_max), np.float32)
    for length in range(1, history_max + 1):
        ages = np.arange(length - 1, -1, -1, dtype=np.float64)
        rows[length, -length:] = normalised(history_decay**ages)
    rows.flags.writeable = False
    return rows


def normalised(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divide weights by (their sum + 1e-6), along the last axis."""
    shares: npt.NDArray[np.float64] = weights / (weights.sum(-1, keepdims=True) + _NO_HISTORY)
    return shares
