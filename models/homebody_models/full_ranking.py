"""Ranks and lists of a block of devices: counting instead of sorting, and no loop over devices.

A rank is the number of better items and half of those that tie. Scores of hidden items become minus
infinity, which no finite score is below, so that they count nowhere; an item hidden twice is hidden
once. Counts add eight truth values at a time, as bytes of one word.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.history_columns import Histories

Ranks = npt.NDArray[np.float64]
Lists = npt.NDArray[np.int32]
_Rows = npt.NDArray[np.bool_]
_Words = npt.NDArray[np.uint64]

_BYTE: Final = 8  # truth values in a word
_MOST_WORDS: Final = 255  # whose sum leaves no byte
_SPARE: Final = 4  # columns, or candidates, for each place of a list
_LEAST_STRIPS: Final = 2


def visible_scores(
    scores: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    hidden: Histories | None,
    *,
    overwrite: bool = False,
) -> npt.NDArray[np.floating]:
    """Return scores in which hidden items are minus infinity; ``scores`` itself if there are none.

    Args:
        scores: Shape ``(n, items)``; larger is better.
        targets: Shape ``(n,)``, the held-out items.
        hidden: For each device the items left out of its ranking; None for none.
        overwrite: Write into ``scores``, which nobody needs any more, instead of a copy.

    Raises:
        ValueError: If a score is not finite or a target is hidden.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite: a NaN would rank first")
    if hidden is None:
        return scores
    owners, items = hidden.events()
    gone = np.flatnonzero(items == targets[owners])
    if len(gone):
        raise ValueError(f"the target of row {owners[gone[0]]} is hidden, it has no rank")
    visible = np.ascontiguousarray(scores) if overwrite else np.array(scores, order="C")
    visible.reshape(-1)[owners * scores.shape[1] + items] = -np.inf
    return visible


def ranks_of(visible: npt.NDArray[np.floating], targets: npt.NDArray[np.integer]) -> Ranks:
    """Return each target's rank from 0: better items, plus half of those that tie.

    Args:
        visible: Scores as ``visible_scores`` returns them, shape ``(n, items)``.
        targets: Shape ``(n,)``, items that are not hidden.
    """
    own = np.take_along_axis(visible, np.asarray(targets, np.int64)[:, None], axis=1)
    words, flags = _flags(visible.shape)
    np.greater(visible, own, out=flags)
    better = _counts(words)
    np.greater_equal(visible, own, out=flags)
    not_worse = _counts(words)
    return 0.5 * (better + not_worse - 1).astype(np.float64)


def best_lists(visible: npt.NDArray[np.floating], k: int) -> Lists:
    """Return the ``k`` best items of each device in the order (-score, index).

    Args:
        visible: Scores as ``visible_scores`` returns them, shape ``(n, items)``.
        k: Length of the lists, at least 0.

    Returns:
        int32 of shape ``(n, k)``; -1 where fewer than ``k`` items are visible.
    """
    n, items = visible.shape
    top = np.full((n, k), -1, np.int32)
    places = min(k, items)
    if not places or not n:
        return top
    owners, found = _candidates(visible, places)
    counts = np.bincount(owners, minlength=n)
    spots = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    falling = np.full((n, int(counts.max(initial=0))), np.inf)
    falling[owners, spots] = -visible[owners, found]
    shown = np.full(falling.shape, -1, np.int32)
    shown[owners, spots] = found
    # Candidates come by index: a stable sort leaves those that tie in that order.
    order = np.argsort(falling, axis=1, kind="stable")[:, :places]
    top[:, : order.shape[1]] = np.take_along_axis(shown, order, axis=1)
    return top


def _candidates(
    visible: npt.NDArray[np.floating], places: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return owner and item of scores among which the best are: few a device, by index."""
    words, flags = _flags(visible.shape)
    np.greater_equal(visible, _bounds(visible, places)[:, None], out=flags)
    crowded = np.flatnonzero(_counts(words) > _SPARE * places)
    if len(crowded):
        flags[crowded] = _best_only(visible[crowded], places)
    found = np.flatnonzero(words.view(np.bool_))
    wide = words.shape[1] * _BYTE
    owners = found // wide
    found -= owners * wide
    seen = visible[owners, found] > -np.inf
    return owners[seen], found[seen]


def _bounds(visible: npt.NDArray[np.floating], places: int) -> npt.NDArray[np.floating]:
    """Return for each device a score that at least ``places`` items reach, and few more.

    With the items dealt into columns, ``places`` columns have their best at or above the largest
    but ``places - 1`` of such bests: it takes passes, where selecting takes many.
    """
    columns = visible.shape[1]
    while (strips := columns // max(_SPARE * places, columns // _BYTE)) >= _LEAST_STRIPS:
        columns //= strips
        whole = visible[:, : strips * columns]
        visible = whole.reshape(len(visible), strips, columns).max(axis=1)
    bounds: npt.NDArray[np.floating] = np.partition(visible, columns - places, axis=1)[
        :, columns - places
    ]
    return bounds


def _best_only(visible: npt.NDArray[np.floating], places: int) -> _Rows:
    """Mark the ``places`` best of each row; of those that tie for the last, the first ones."""
    items = visible.shape[1]
    last = np.partition(visible, items - places, axis=1)[:, items - places, None]
    best, ties = visible > last, visible == last
    left = places - best.sum(axis=1)
    found = np.flatnonzero(ties)
    owners = found // items
    counts = np.bincount(owners, minlength=len(visible))
    spots = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
    best.reshape(-1)[found[spots < left[owners]]] = True
    return best


def _flags(shape: tuple[int, ...]) -> tuple[_Words, _Rows]:
    """Return words of eight truth values, all false, and a view of the values of each item."""
    n, items = shape
    words = np.zeros((n, -(-items // _BYTE)), np.uint64)
    return words, words.view(np.bool_)[:, :items]


def _counts(words: _Words) -> npt.NDArray[np.int64]:
    """Return how many truth values of each row are true."""
    total = np.zeros(len(words), np.int64)
    for start in range(0, words.shape[1], _MOST_WORDS):
        sums = np.add.reduce(words[:, start : start + _MOST_WORDS], axis=1)
        total += sums.view(np.uint8).reshape(-1, _BYTE).sum(axis=1, dtype=np.int64)
    return total
