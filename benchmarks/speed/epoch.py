"""One device's local epoch in numpy: the oracle that every system is compared with, and its checks.

Slow and plain, in whatever precision the table has. Of the systems compared only Flower trains with
it, for Flower brings no training of its own.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from world import BATCH, CLIP_NORM, Rates, World, device_keys, negatives, round_key

Array = npt.NDArray[np.floating[Any]]

GOLDEN: Final = {True: 12.859945, False: 8.702607}
"""Norm of the sum of round 0, cohort 500: at the rates of the check, and at those of the clock."""


def train(
    table: Array, user: Array, history: npt.NDArray[np.int32], key: int, rates: Rates
) -> None:
    """Train on a history in its order, one epoch; change the table and the user's vector in place.

    Args:
        table: Shape ``(items, dim)``.
        user: Shape ``(dim,)``.
        history: The device's items.
        key: The device's key in the round.
        rates: Learning rates.
    """
    drawn = negatives(key, len(history))
    for start in range(0, len(history), BATCH):
        positives = history[start : start + BATCH]
        pairs = np.column_stack((positives, drawn[start : start + BATCH]))
        values = table[pairs]
        errors = 1.0 / (1.0 + np.exp(-(values @ user)))
        errors[:, 0] -= 1.0
        errors /= len(positives)
        # Each row changes by a multiple of the user's vector: add up the multiples of a row first.
        touched, where = np.unique(pairs, return_inverse=True)
        share = np.bincount(where.ravel(), weights=errors.ravel()).astype(table.dtype)
        slope = np.tensordot(errors, values, axes=2)
        table[touched] -= rates.rows * share[:, None] * user
        user -= rates.user * slope


def clipped(update: Array) -> Array:
    """Return an update with norm at most ``CLIP_NORM``."""
    return update * min(1.0, CLIP_NORM / max(float(np.linalg.norm(update)), 1e-300))


def oracle(world: World, rows: npt.NDArray[np.int64], rates: Rates) -> npt.NDArray[np.float64]:
    """Return the sum of the clipped updates of some devices in round 0, in float64."""
    before = world.table.astype(np.float64)
    total = np.zeros_like(before)
    keys = device_keys(round_key(0), rows)
    for row, key in zip(rows.tolist(), keys.tolist(), strict=True):
        table, user = before.copy(), world.users[row].astype(np.float64)
        train(table, user, world.history(row), key, rates)
        total += clipped(table - before)
    return total


def distance(found: Array, oracle_sum: npt.NDArray[np.float64]) -> float:
    """Return the largest difference over the oracle's largest entry."""
    return float(np.abs(found - oracle_sum).max() / np.abs(oracle_sum).max())
