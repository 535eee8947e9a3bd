"""From noised sums to an item table: post-processing, free of further privacy cost."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_models.statistics.bilinear import fit_bilinear
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.space import Space, unpack

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factored:
    """An item table made of statistics. Public.

    Attributes:
        embeddings: float32 of shape ``(items, rank)``.
        bias: float32 of shape ``(items,)``: orders the list of a device without history.
    """

    embeddings: npt.NDArray[np.float32] = field(repr=False)
    bias: npt.NDArray[np.float32] = field(repr=False)


def clean_popularity(released: Vector, sigma: float) -> npt.NDArray[np.float32]:
    """Return popularity above 0: noise leaves negative counts, which have no logarithm.

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

    An item of the head has its fitted row and level; one outside it the row that its content says,
    and the level that its popularity has on the head's line. A score adds the level at a share: the
    mean of a history's rows repeats part of what popularity says already.

    Args:
        space: Where the matrix lies.
        popularity: Cleaned popularity, above 0, shape ``(items,)``.
        features: Public content of shape ``(items, f)``.
        gram: Noised sum, packed, of shape ``(space.length,)``.
        sigma: Standard deviation of the noise on each entry; 0 without noise.
        settings: What was fixed before the release.
    """
    head = space.head
    counts = popularity.astype(np.float64)
    centred = features.astype(np.float64)
    if len(head):
        centred -= counts[head] @ centred[head] / counts[head].sum()
    model = fit_bilinear(
        unpack(np.asarray(gram, np.float64), space.size),
        counts[head],
        centred[head],
        sigma=sigma,
        prior=settings.prior,
        rank=settings.rank,
    )
    embeddings = (centred @ model.content.astype(np.float64)).astype(np.float32)
    embeddings[head] = model.rows
    bias = _line(np.log(counts), head, model.level.astype(np.float64))
    bias[head] = model.level
    bias *= settings.popularity_weight
    return Factored(embeddings=embeddings, bias=bias.astype(np.float32))


def _line(log: Vector, head: npt.NDArray[np.int64], level: Vector) -> Vector:
    """Return every item's level by its log popularity, on the least squares line of the head."""
    if not len(head):
        return log.copy()
    away = log[head] - log[head].mean()
    spread = float(away @ away)
    slope = max(float(away @ level) / spread, 0.0) if spread > 1e-12 else 1.0  # noqa: PLR2004
    line: Vector = level.mean() + slope * (log - log[head].mean())
    return line
