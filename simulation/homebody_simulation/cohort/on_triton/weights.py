"""The weights of a history's events as tables, the same digits as ``HistoryWindow`` makes."""

import numpy as np
import numpy.typing as npt

from homebody_models.history import HistoryWindow, normalised


def shares_by_age(history_max: int, decay: float, padded: int) -> npt.NDArray[np.float64]:
    """Return weights that sum to 1 by length of the window and age.

    Args:
        history_max: Most events of a window.
        decay: Weight of an event relative to the next newer one.
        padded: At least ``history_max``.

    Returns:
        float64 of shape ``(padded + 1, padded)``; the newest event has age 0.
    """
    window = HistoryWindow(history_max, decay)
    shares = np.zeros((padded + 1, padded))
    for length in range(1, history_max + 1):
        _, weights = window.slots(np.zeros(length, np.int64))
        shares[length, :length] = normalised(weights)[::-1]
    return shares
