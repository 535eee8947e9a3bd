"""Co-occurrence of items over all devices, on the most popular items where the catalog is large."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.baselines.baseline import Array, counts
from homebody_models.interactions import Interactions

HEAD: Final = 4_096
"""Items that have a row of a Gram matrix, the most popular ones: 134 MB in float64."""

EVENTS: Final = 1_024
"""Newest events of a device that count: a longer history costs a square of its length."""

REPEATED: Final = 256
"""The same where items come again and rows must be added up."""


@dataclass(frozen=True, slots=True)
class Head:
    """The items of a Gram matrix.

    Attributes:
        items: int64 of shape ``(h,)``, ascending.
        place: int64 of shape ``(items,)``: an item's row, -1 where it has none.
        popular: float32 of shape ``(items,)``: devices that chose each, divided by the most.
    """

    items: npt.NDArray[np.int64] = field(repr=False)
    place: npt.NDArray[np.int64] = field(repr=False)
    popular: Array = field(repr=False)


def head_of(train: Interactions, size: int = HEAD) -> Head:
    """Return the ``size`` items that most devices chose; ties go to the smaller index."""
    chosen = counts(train)
    items = np.sort(np.argsort(-chosen, kind="stable")[:size]).astype(np.int64)
    place = np.full(len(chosen), -1, np.int64)
    place[items] = np.arange(len(items))
    popular = (chosen / max(chosen.max(initial=0.0), 1.0)).astype(np.float32)
    return Head(items, place, popular)


def gram(
    train: Interactions, head: Head, *, window: float, normalised: bool
) -> npt.NDArray[np.float64]:
    """Return the sum over devices of X^T K X with K[s, t] = window ** |s - t|, shape ``(h, h)``.

    Args:
        train: Histories. Secret.
        head: The items that count.
        window: Weight of a pair relative to one a step closer, in (0, 1]; 1 counts pairs of
            distinct items whatever lies between them.
        normalised: Divide each device's matrix by its norm, as a statistic of bounded sensitivity
            is; else a device counts by its length.
    """
    total = np.zeros((len(head.items), len(head.items)))
    sums = window < 1.0 and train.repeats
    powers = window ** np.arange(EVENTS, dtype=np.float64)
    for device in range(train.devices):
        own = head.place[train.history(device)[-(REPEATED if sums else EVENTS) :]]
        own = own[own >= 0]
        if window == 1.0:
            own = np.unique(own)
        n = len(own)
        if not n:
            continue
        mirrored = np.concatenate((powers[n - 1 : 0 : -1], powers[:n]))
        pairs = np.lib.stride_tricks.sliding_window_view(mirrored, n)[::-1]
        distinct = own
        if sums:
            distinct, pairs = _summed(own, pairs)
        weight = 1.0 / np.linalg.norm(pairs) if normalised else 1.0
        total[np.ix_(distinct, distinct)] += weight * pairs
    return total


def _summed(
    own: npt.NDArray[np.int64], pairs: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Add up rows and columns of an item chosen more than once; return each item once."""
    order = np.argsort(own, kind="stable")
    distinct, start = np.unique(own[order], return_index=True)
    rows = np.add.reduceat(pairs[order], start, axis=0)
    return distinct, np.add.reduceat(rows[:, order], start, axis=1)
