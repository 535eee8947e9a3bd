"""The one order of every list: by falling score, then by rising index."""

import numpy as np
import numpy.typing as npt


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
    allowed = np.arange(len(scores)) if visible is None else np.flatnonzero(visible)
    seen = scores[allowed]
    k = min(k, len(seen))
    if k <= 0:
        return np.zeros(0, np.int64)
    least = np.partition(seen, len(seen) - k)[len(seen) - k]
    tied = np.flatnonzero(seen >= least)  # partition alone would pick arbitrary ones
    return allowed[tied[np.lexsort((tied, -seen[tied]))][:k]].astype(np.int64)
