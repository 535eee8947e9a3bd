"""What an audit sees of a run: the released sums on the canaries' rows, and who took part.

A canary's row is a coordinate that its device alone can move, so the released sum there is the
device's own contribution plus noise, and nothing else. A canary spread over many coordinates would
drown: its score carries the noise of all of them. https://arxiv.org/abs/2305.08846 calls these
Dirac canaries.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.linalg import toeplitz

Matrix = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projections:
    """Released sums on the rows of m canaries over T rounds.

    Attributes:
        released: Noised sums in units of the clip norm, of shape ``(m, T)``. Public.
        inside: Which canaries' contributions count, shape ``(m,)``: fair coins, the audit's own
            secret until it has guessed. The others go through all the motions and send zeros.
        joined: Which canaries were asked and took part in which round, ``(m, T)``, by their own
            account, whatever their coin.
    """

    released: Matrix = field(repr=False)
    inside: Flags = field(repr=False)
    joined: Flags = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what no statistic can be made of."""
        if self.released.ndim != 2 or self.released.shape != self.joined.shape:  # noqa: PLR2004
            raise ValueError("released and joined must be matrices of the same shape")
        if self.inside.shape != self.released.shape[:1]:
            raise ValueError("inside must have one coin for each row")
        if not np.isfinite(self.released).all():
            raise ValueError("released sums must be finite")
        if not 0 < int(self.inside.sum()) < len(self.inside):
            raise ValueError("an audit needs canaries on both sides of the coin: use more of them")

    @property
    def canaries(self) -> int:
        """Number of canaries m."""
        return len(self.inside)

    @property
    def rounds(self) -> int:
        """Number of rounds T."""
        return int(self.released.shape[1])


def whitened(rows: npt.NDArray[np.generic], coefficients: Matrix) -> Matrix:
    """Return the rows times L: what correlated noise makes independent again.

    Args:
        rows: Values by round, of shape ``(rows, T)``.
        coefficients: First column of L, of shape ``(T,)``.

    Examples:
        >>> whitened(np.array([[1.0, 0.0, 2.0]]), np.array([1.0, 0.5, 0.25])).tolist()
        [[1.0, 0.5, 2.25]]
    """
    if not coefficients[1:].any():
        return rows.astype(np.float64)
    lower = toeplitz(coefficients, np.zeros(len(coefficients)))
    product: Matrix = rows.astype(np.float64) @ lower.T
    return product
