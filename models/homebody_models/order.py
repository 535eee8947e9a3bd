"""The one order of every list: by falling score, then by rising index; and distinct indices."""

from typing import Final

import numpy as np
import numpy.typing as npt

_MOST_ROWS: Final = 256
_LEAST_ROWS: Final = 4
_SPARE: Final = 4  # columns for each place of the list


def serving_order(
    scores: npt.NDArray[np.floating], k: int, visible: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """Return the indices of the ``k`` best scores in the order (-score, index).

    Args:
        scores: Shape ``(items,)``, finite.
        k: Length of the list, at least 0.
        visible: Items that may appear; None for all.

    Returns:
        int64 of shape ``(min(k, visible items),)``.

    Raises:
        ValueError: If a score is not finite; one NaN would shorten the list.

    Examples:
        >>> serving_order(np.array([1.0, 3.0, 3.0, 2.0]), 3).tolist()
        [1, 2, 3]
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if visible is None:
        return _best(scores, min(k, len(scores)))
    allowed = np.flatnonzero(visible)
    return allowed[_best(scores[allowed], min(k, len(allowed)))]


def distinct(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each index once, rising; ``np.unique`` would load all of ``numpy.ma``.

    Examples:
        >>> distinct(np.array([7, 2, 7])).tolist()
        [2, 7]
    """
    ordered = np.sort(indices)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def _best(scores: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int64]:
    """Return the indices of the ``k`` best of at least ``k`` scores."""
    if k <= 0:
        return np.zeros(0, np.int64)
    tied = np.flatnonzero(scores >= _bound(scores, k))  # partition alone would pick arbitrary ones
    return tied[np.lexsort((tied, -scores[tied]))][:k].astype(np.int64)


def _bound(scores: npt.NDArray[np.floating], k: int) -> np.floating:
    """Return a score that at least ``k`` items reach, and few more.

    In a table of the scores ``k`` columns have their largest entry at or above the k-th largest of
    such entries: one pass over the scores, where selecting among all of them takes many.
    """
    rows = min(_MOST_ROWS, len(scores) // (_SPARE * k))
    if rows >= _LEAST_ROWS:
        columns = len(scores) // rows
        scores = scores[: rows * columns].reshape(rows, columns).max(axis=0)
    bound: np.floating = np.partition(scores, len(scores) - k)[len(scores) - k]
    return bound
