"""From noised sums to an item table: post-processing, free of further privacy cost."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.space import Space, unpack

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factored:
    """An item table made of statistics. Public.

    Attributes:
        embeddings: float32 of shape ``(items, rank)``; columns beyond what the noise leaves are 0.
        bias: float32 of shape ``(items,)``: orders the list of a device without history.
    """

    embeddings: npt.NDArray[np.float32] = field(repr=False)
    bias: npt.NDArray[np.float32] = field(repr=False)


def clean_popularity(released: Vector, sigma: float) -> npt.NDArray[np.float32]:
    """Return popularity above 0: noise leaves negative counts, which have no square root.

    Args:
        released: Noised sum of popularity statistics, shape ``(items,)``.
        sigma: Standard deviation of its noise; 0 without noise.
    """
    return np.maximum(released, 0.5 * max(sigma, 0.2)).astype(np.float32)


def factor(
    space: Space,
    popularity: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    gram: Vector,
    sigma: float,
    settings: StatisticsSettings,
) -> Factored:
    """Turn a noised Gram matrix into an item table.

    Args:
        space: Where the matrix lies.
        popularity: Cleaned popularity, above 0, shape ``(items,)``.
        features: Public content of shape ``(items, f)``.
        gram: Noised sum, packed, of shape ``(space.length,)``.
        sigma: Standard deviation of the noise on each entry; 0 without noise.
        settings: What was fixed before the release.
    """
    m = space.size
    values, vectors = np.linalg.eigh(unpack(gram, m))
    edge = sigma * np.sqrt(2.0 * m)
    kept = values > edge
    kept[-1] = True
    basis = space.dense()
    signal = basis @ vectors[:, kept]
    content = np.hstack((features, np.ones((len(features), 1), np.float32))).astype(np.float64)
    content *= np.sqrt(popularity.astype(np.float64))[:, None]
    left, size, _ = np.linalg.svd(content, full_matrices=False)
    both, _ = np.linalg.qr(np.hstack((signal, left[:, size > 1e-8 * size[0]])))
    inside = basis.T @ both
    small = inside.T @ unpack(gram, m) @ inside
    strength, turn = np.linalg.eigh(0.5 * (small + small.T))
    order = np.argsort(-strength)[: settings.rank]
    strength = np.maximum(strength[order], 0.0)
    table = both @ turn[:, order] * np.sqrt(strength / (strength + settings.ridge))
    embeddings = np.zeros((len(popularity), settings.rank), np.float32)
    embeddings[:, : table.shape[1]] = table
    log = np.log(popularity.astype(np.float64))
    bias = 1e-4 * (log - log.min()) / max(float(np.ptp(log)), 1e-12)
    return Factored(embeddings=embeddings, bias=bias.astype(np.float32))
