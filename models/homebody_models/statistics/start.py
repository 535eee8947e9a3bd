"""The model that one-shot statistics give: what the second pass is told, and the start of both.

Everything here is a function of settings fixed beforehand, public content and released sums: server
and device build the same space from the same broadcast, and neither step costs privacy.
"""

import numpy as np
import numpy.typing as npt

from homebody_models.statistics.factor import clean_popularity, factor
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.space import Space, tail_weights

Array = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


def gram_broadcast(
    settings: StatisticsSettings, features: Array, released: Vector, sigma: float
) -> Array:
    """Return what every device is sent before the Gram pass: cleaned popularity, then weights.

    Args:
        settings: What was fixed before the run.
        features: Public content of shape ``(items, f)``; may have no column.
        released: Noised sum of popularity statistics, shape ``(items,)``.
        sigma: Standard deviation of its noise on each entry; 0 without noise.

    Returns:
        float32 of shape ``(items + (f + 1) c,)``: p, then ``tail_weights`` row by row.
    """
    popularity = clean_popularity(released, sigma)
    weights = tail_weights(popularity, features, settings.head)
    return np.concatenate((popularity, weights.ravel()))


def space_of(settings: StatisticsSettings, features: Array, broadcast: Array) -> Space:
    """Build the space of the Gram statistic from what ``gram_broadcast`` made.

    Args:
        settings: The device's own settings: head and window are never taken from the server.
        features: Public content of shape ``(items, f)``.
        broadcast: What the server sent.

    Raises:
        ValueError: If the broadcast has no length this catalog can have, or holds a popularity
            that is not finite and above 0.
    """
    items, rows = features.shape[0], features.shape[1] + 1
    columns, odd = divmod(len(broadcast) - items, rows)
    if odd or not 0 <= columns <= rows:
        raise ValueError(f"a broadcast for {items} items has another length than {len(broadcast)}")
    popularity = np.asarray(broadcast[:items], np.float32)
    if not (np.isfinite(broadcast).all() and (popularity > 0.0).all()):
        raise ValueError("a broadcast must be finite and its popularity above 0")
    weights = np.asarray(broadcast[items:], np.float32).reshape(rows, columns)
    return Space.of(popularity, features, weights, settings.head)


def start_parameters(
    settings: StatisticsSettings,
    features: Array,
    popularity: Vector,
    gram: Vector,
    *,
    popularity_sigma: float,
    gram_sigma: float,
) -> Array:
    """Turn released sums into the flat parameters of a ``TwoTower`` without content.

    Its width is ``settings.rank``, its decay ``settings.history_decay``. The model itself is not
    named here: it draws examples, and nothing that handles noise may reach a generator.

    Args:
        settings: What was fixed before the run.
        features: Public content of shape ``(items, f)``.
        popularity: Noised sum of popularity statistics, shape ``(items,)``.
        gram: Noised sum of Gram statistics, packed, in the space of ``gram_broadcast``.
        popularity_sigma: Standard deviation of the noise on each entry; 0 without noise.
        gram_sigma: The same of the packed Gram matrix.

    Returns:
        float32 of shape ``(items * rank + items,)``: table, then bias.
    """
    broadcast = gram_broadcast(settings, features, popularity, popularity_sigma)
    space = space_of(settings, features, broadcast)
    made = factor(space, broadcast[: len(features)], features, gram, gram_sigma, settings)
    return np.concatenate((made.embeddings.ravel(), made.bias))
