"""Least squares on the canaries' rows: what each adds when it joins, and when it does not."""

import math
from dataclasses import dataclass, field

import numpy as np

from homebody_simulation.audit.estimates import Interval, mean_interval
from homebody_simulation.audit.projections import Matrix


@dataclass(frozen=True, slots=True)
class Amplitudes:
    """One amplitude a row, each with its own accuracy.

    Attributes:
        fitted: Amplitude of each row, of shape ``(rows,)``; 0 where there is nothing to fit on.
        weights: Inverse variance for noise of standard deviation 1, same shape; 0 for no fit.
    """

    fitted: Matrix = field(repr=False)
    weights: Matrix = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether no row could be fitted."""
        return not self.weights.any()

    def pooled(self, sigma: float, freedom: int, alpha: float) -> Interval:
        """Return the interval of one amplitude for all rows.

        Args:
            sigma: Estimated standard deviation of the noise.
            freedom: Degrees of freedom of that estimate.
            alpha: Chance that the truth lies outside.
        """
        total = float(self.weights.sum())
        mean = float(self.fitted @ self.weights) / total
        return mean_interval(mean, sigma / math.sqrt(total), freedom, alpha)

    def loudest(self, allowed: float, sigma: float, freedom: int, alpha: float) -> Interval:
        """Return the interval of the row that exceeds ``allowed`` most clearly.

        The row is chosen after looking, so its ``alpha`` is divided among all (Bonferroni).
        """
        held = self.weights > 0.0
        fitted, root = self.fitted[held], np.sqrt(self.weights[held])
        row = int(np.argmax((fitted - allowed) * root))
        error = sigma / float(root[row])
        return mean_interval(float(fitted[row]), error, freedom, alpha / len(fitted))


@dataclass(frozen=True, slots=True)
class FittedRows:
    """Rows taken apart.

    Attributes:
        joined: Amplitudes in the rounds a canary joined.
        others: Amplitudes in its other rounds.
        squares: Sum of squares of what is left.
        freedom: Degrees of freedom of what is left.
    """

    joined: Amplitudes
    others: Amplitudes
    squares: float
    freedom: int


def fit_rows(seen: Matrix, joined: Matrix, others: Matrix) -> FittedRows:
    """Fit each row by two amplitudes, row by row.

    Args:
        seen: Whitened sums, of shape ``(rows, T)``.
        joined: Whitened participation, same shape.
        others: Whitened rounds without participation, same shape. A row of ``joined`` and one of
            ``others`` are parallel only if one of them is zero.
    """
    apart = _perpendicular(others, joined)
    left = _perpendicular(_perpendicular(seen, joined), apart)
    taken = joined.any(axis=1).sum() + apart.any(axis=1).sum()
    return FittedRows(
        joined=_fit(seen, _perpendicular(joined, others)),
        others=_fit(seen, apart),
        squares=float((left**2).sum()),
        freedom=int(seen.size - taken),
    )


def _perpendicular(rows: Matrix, to: Matrix) -> Matrix:
    """Return the part of each row that is perpendicular to the same row of ``to``."""
    share = _ratio((rows * to).sum(axis=1), (to**2).sum(axis=1))
    part: Matrix = rows - share[:, None] * to
    return part


def _fit(seen: Matrix, rows: Matrix) -> Amplitudes:
    weights = (rows**2).sum(axis=1)
    return Amplitudes(_ratio((seen * rows).sum(axis=1), weights), weights)


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    """Divide; 0 / 0 is 0."""
    ratio: Matrix = np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)
    return ratio
