"""A log-bilinear model of noised pair counts: G_ij ~ exp(a_i + a_j + e_i . e_j), e = v + F w.

A spectral cut of the noised matrix spends its rank on popularity and ranks by the size of counts.
Here popularity has a term of its own, and the inner product says how much more often than by
chance two items are chosen together (as in GloVe: Pennington et al., "GloVe: Global Vectors for
Word Representation" (2014), https://aclanthology.org/D14-1162/). The noise is known, so the loss is
that of the noise: squared errors over their variance sigma^2 + phi mu (quasi-likelihood, Wedderburn
1974), where the second part is the spread of the counts themselves. Frequent pairs, which stand
above the noise, are fitted; rare ones are left to the prior, which draws a row towards what its
public content says, and that towards zero.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Array = npt.NDArray[np.float32]

SPREAD: Final = 0.07
"""phi: variance of a count without noise over its mean; a device adds about this to a pair."""

_CONTENT: Final = 0.2  # strength of the prior on w relative to that on v
_STEPS: Final = 150
_RATE: Final = 0.03
_COOLING: Final = 0.3  # share of the last steps over which the rate falls to zero
_LENGTH: Final = 0.3  # of a row at the start: small, but not where the gradient is zero
_HEADROOM: Final = 2.0  # how far above the largest count a fitted one may go, in logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Bilinear:
    """A fitted model. Public.

    Attributes:
        rows: e, float32 of shape ``(H, rank)``.
        level: a, float32 of shape ``(H,)``.
        content: w, float32 of shape ``(f, rank)``.
    """

    rows: Array = field(repr=False)
    level: Array = field(repr=False)
    content: Array = field(repr=False)


def fit_bilinear(
    counts: Vector, popularity: Vector, features: Vector, *, sigma: float, prior: float, rank: int
) -> Bilinear:
    """Fit the model by Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980), full batch.

    Args:
        counts: Symmetric noised pair counts of shape ``(H, H)``; the diagonal is not looked at.
        popularity: Above 0, shape ``(H,)``: where the levels start.
        features: Centred public content of shape ``(H, f)``; may have no column.
        sigma: Standard deviation of the noise on each count; 0 without noise.
        prior: Strength tau of the prior on an entry of v: one over its variance.
        rank: Width of a row.

    Guarantees:
        A function of its arguments, with no randomness of its own; the result is finite.
    """
    seen = counts.astype(np.float32)
    np.fill_diagonal(seen, 0.0)
    content = features.astype(np.float32)
    ceiling = np.float32(np.log(max(float(seen.max(initial=1.0)), 1.0)) + _HEADROOM)
    variance, spread = np.float32(max(sigma * sigma, 1e-3)), np.float32(SPREAD)
    level = _levels(seen, popularity)
    own = _signs(len(seen), rank) * np.float32(_LENGTH / np.sqrt(rank))
    shared = np.zeros((content.shape[1], rank), np.float32)
    steps = _Adam((own, level, shared))
    for step in range(_STEPS):
        rows = own + content @ shared
        mean = rows @ rows.T
        mean += level[:, None]
        mean += level
        np.exp(np.minimum(mean, ceiling, out=mean), out=mean)
        pull = mean - seen
        pull *= mean
        pull /= variance + spread * mean
        np.fill_diagonal(pull, 0.0)
        back = pull @ rows
        steps.take(
            (
                back + np.float32(prior) * own,
                pull.sum(axis=1),
                content.T @ back + np.float32(_CONTENT * prior) * shared,
            ),
            _RATE * min(1.0, (_STEPS - step) / (_COOLING * _STEPS)),
        )
    return Bilinear(rows=own + content @ shared, level=level, content=shared)


def _levels(seen: Array, popularity: Vector) -> Array:
    """Return levels at which independent items would have as many pairs as were counted."""
    expected = popularity.sum() ** 2 - (popularity**2).sum()
    total = max(float(seen.sum(dtype=np.float64)), 1.0)  # noise may leave less than nothing
    scale = 0.5 * np.log(total / expected) if expected > 0.0 else 0.0
    levels: Array = (np.log(popularity) + scale).astype(np.float32)
    return levels


def _signs(rows: int, columns: int) -> Array:
    """Return a fixed matrix of signs without pattern (the bits of splitmix64, Steele et al. 2014).

    Rows must differ at the start: equal ones would stay equal. Chance is not needed for that.
    """
    bits = np.arange(1, rows * columns + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    signs = 1.0 - 2.0 * (bits >> np.uint64(63)).astype(np.float32)
    return signs.reshape(rows, columns)


class _Adam:
    """Adam over several arrays, in place."""

    __slots__ = ("_arrays", "_first", "_second", "_taken")

    def __init__(self, arrays: tuple[Array, ...]) -> None:
        self._arrays = arrays
        self._first = [np.zeros_like(array) for array in arrays]
        self._second = [np.zeros_like(array) for array in arrays]
        self._taken = 0

    def take(self, gradients: tuple[Array, ...], rate: float) -> None:
        """Make one step against the gradients."""
        self._taken += 1
        first, second = 1.0 - 0.9**self._taken, 1.0 - 0.99**self._taken
        moments = zip(self._arrays, gradients, self._first, self._second, strict=True)
        for array, gradient, mean, square in moments:
            mean[:] = np.float32(0.9) * mean + np.float32(0.1) * gradient
            square[:] = np.float32(0.99) * square + np.float32(0.01) * gradient * gradient
            size = np.sqrt(square / np.float32(second)) + np.float32(1e-8)
            array[:] -= np.float32(rate / first) * mean / size
