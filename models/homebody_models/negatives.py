"""Negative items to train against: any item outside a device's training items.

The pool holds the held-out items too. A sampler that leaves them out because it looks at the whole
history tells a scorer which items are never negative: one that only counts draws, without a model,
then finds the targets. Several published federated benchmarks sample so.
"""

import numpy as np
import numpy.typing as npt


def draw_negatives(
    training: npt.NDArray[np.integer], items: int, count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw uniformly, with replacement, from the catalog without one device's training items.

    Args:
        training: Items the device trains on; a held-out item has no place here. Secret.
        items: Size of the catalog.
        count: Items to draw, at least 0.
        rng: Draws them; no privacy rests on it.

    Returns:
        int64 of shape ``(count,)``.

    Raises:
        ValueError: If the device trains on the whole catalog.

    Examples:
        >>> draw_negatives(np.array([0, 2]), 4, 5, np.random.default_rng(0)).tolist()
        [3, 3, 3, 1, 1]
    """
    taken = np.unique(training)
    free = items - len(taken)
    if free < 1:
        raise ValueError("no item is outside the training items")
    # The j-th free item is j plus the number of taken items before it.
    before = taken - np.arange(len(taken))
    drawn = rng.integers(free, size=count)
    chosen: npt.NDArray[np.int64] = drawn + np.searchsorted(before, drawn, side="right")
    return chosen
