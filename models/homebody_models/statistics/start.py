"""The model that one-shot statistics give: what the second pass is told, and the start of both.

Everything here is a function of settings fixed beforehand, public content and released sums: server
and device build the same space from the same broadcast, and neither step costs privacy.
"""

import numpy as np
import numpy.typing as npt

from homebody_models.statistics.cold import with_cold_items
from homebody_models.statistics.factor import clean_popularity, factor
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.space import Space

Array = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


def gram_broadcast(
    settings: StatisticsSettings, features: Array, released: Vector, sigma: float
) -> Array:
    """Return what every device is sent before the Gram pass: cleaned popularity, float32 (items,).

    Args:
        settings: What was fixed before the run.
        features: Public content of shape ``(items, f)``.
        released: Noised sum of popularity statistics, shape ``(items,)``.
        sigma: Standard deviation of its noise on each entry; 0 without noise.
    """
    del settings, features  # the head follows from popularity and a device's own settings
    return clean_popularity(released, sigma)


def space_of(settings: StatisticsSettings, features: Array, broadcast: Array) -> Space:
    """Build the space of the Gram statistic from what ``gram_broadcast`` made.

    Args:
        settings: The device's own settings: head and window are never taken from the server.
        features: Public content of shape ``(items, f)``.
        broadcast: What the server sent.

    Raises:
        ValueError: If the broadcast is not as long as the catalog, or holds a popularity that is
            not finite and above 0.
    """
    if broadcast.shape != (len(features),):
        raise ValueError(f"a broadcast for {len(features)} items has not shape {broadcast.shape}")
    if not (np.isfinite(broadcast).all() and (broadcast > 0.0).all()):
        raise ValueError("a broadcast must be finite and above 0")
    return Space.of(broadcast.astype(np.float32), settings.head)


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
    counts = with_cold_items(broadcast, popularity, popularity_sigma, features, space.head)
    made = factor(space, counts, features, gram, gram_sigma, settings)
    return np.concatenate((made.embeddings.ravel(), made.bias))
