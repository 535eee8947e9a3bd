"""Cold items: what nobody, or nobody in sight of the noise, has chosen ranks by its content.

A cold item's row is what its public content says, as for each item outside the head. Its level is
the trouble: the released popularity of an item without events is noise alone, and a list of such
items would be in the order of that noise. So an item within three standard deviations of nothing is
given the popularity that its content predicts instead. The predictions are scaled so that cold
items together are as popular as was released of them together: the sum of many is far above its
noise, and without it cold items, which are rarely chosen, would crowd the lists of everybody.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Array = npt.NDArray[np.float32]

_IN_SIGHT: Final = 3.0  # standard deviations: noise alone rarely reaches further
_TALL: Final = 6.0  # standard deviations at which a popular item stops to weigh in more
_QUIET: Final = 0.2  # taken for the noise where there is less: a handful of devices
_RIDGE: Final = 1.0  # items' worth of the average against each feature
_LEAST: Final = 0.1  # of the average popularity: content never says that nobody wants an item


def cold_items(released: Vector, sigma: float) -> npt.NDArray[np.bool_]:
    """Return which items noise alone may explain, bool of shape ``(items,)``.

    Args:
        released: Noised sum of popularity statistics, shape ``(items,)``.
        sigma: Standard deviation of its noise; 0 without noise.

    Examples:
        >>> cold_items(np.array([-1.0, 2.9, 3.1]), 1.0)
        array([ True,  True, False])
    """
    cold: npt.NDArray[np.bool_] = released < _IN_SIGHT * max(sigma, _QUIET)
    return cold


def content_popularity(released: Vector, sigma: float, features: Array) -> Vector:
    """Return the popularity that content predicts, above 0, shape ``(items,)``.

    Ridge regression of released popularity on content. Popular items are cut at six standard
    deviations: a few blockbusters would else decide what is said of items nobody has seen.

    Args:
        released: Noised sum of popularity statistics, shape ``(items,)``.
        sigma: Standard deviation of its noise; 0 without noise.
        features: Public content of shape ``(items, f)``.
    """
    noise = max(sigma, _QUIET)
    seen = np.minimum(released, _TALL * noise)
    average = max(float(seen.mean()), noise / np.sqrt(len(seen)))  # above 0, whatever was drawn
    content = features.astype(np.float64)
    weights = np.linalg.solve(
        content.T @ content + _RIDGE * np.eye(content.shape[1]), content.T @ (seen - average)
    )
    predicted: Vector = np.maximum(average + content @ weights, _LEAST * average)
    return predicted


def with_cold_items(
    popularity: Array, released: Vector, sigma: float, features: Array, head: npt.NDArray[np.int64]
) -> Array:
    """Return popularity in which the cold items outside the head have what content predicts.

    Args:
        popularity: Cleaned popularity, above 0, float32 of shape ``(items,)``.
        released: Noised sum it was cleaned from.
        sigma: Standard deviation of the noise; 0 without noise.
        features: Public content of shape ``(items, f)``; without a column nothing is changed.
        head: Items whose level is fitted: they keep their popularity.

    Returns:
        float32 of shape ``(items,)``, above 0: post-processing of the release.
    """
    cold = cold_items(released, sigma)
    if not features.shape[1] or not cold.any():
        return popularity
    predicted = content_popularity(released, sigma, features)
    noise = max(sigma, _QUIET) * np.sqrt(np.count_nonzero(cold))
    together = max(float(released[cold].sum()), float(noise))  # no less than it is known to
    predicted *= together / predicted[cold].sum()
    cold[head] = False
    return np.where(cold, predicted, popularity).astype(np.float32)
