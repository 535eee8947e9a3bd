"""How far one device can move correlated sums: searched for, over every pattern of joins.

The strategy is the lower triangular Toeplitz matrix L of c_0 = 1 and
c_i = sum_j omega_j theta_j**(i - 1) (https://arxiv.org/abs/2404.16706, section 5). A device that
joins in the rounds P moves L times the sums by at most the norm of the sum of the columns P: the
root of the sum of the Gram matrix G = L' L over P x P. The formula that spends knows which P is the
worst; nothing is assumed here.

``most_moved`` bounds the maximum over all P by two dynamic programmes, as in
https://arxiv.org/abs/2306.08153, section 3: for a join in round j the most that the joins before it
can add, each as bad as it may be by itself; then the worst chain of joins. The bound is met where
one pattern is the worst for every j, as it is for columns that never rise. It holds for every
strategy whose Gram matrix has no negative entry; one that has is refused.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MOST_SEARCHED: Final = 2048
"""Rounds up to which all patterns are searched: beyond, the matrices would fill the memory."""


def first_column(theta: tuple[float, ...], omega: tuple[float, ...], rounds: int) -> Array:
    """Return c, the first column of L, by the recursion of the buffers: one round at a time.

    Args:
        theta: Decay of each buffer.
        omega: Weight of each, as many.
        rounds: Rounds of the run, at least 1.

    Returns:
        float64 of shape ``(rounds,)``.
    """
    weights = np.array(omega, dtype=np.float64)
    decay = np.array(theta, dtype=np.float64)
    column = np.empty(rounds)
    column[0] = 1.0
    for step in range(1, rounds):
        column[step] = weights.sum()
        weights = weights * decay
    return column


def gram_matrix(column: Array) -> Array:
    """Return G = L' L of shape ``(rounds, rounds)`` for the first column of L."""
    rounds = column.size
    rows = np.arange(rounds)
    lag = rows[:, None] - rows[None, :]
    strategy = np.where(lag >= 0, column[np.abs(lag)], 0.0)
    gram: Array = strategy.T @ strategy
    return gram


def most_moved(gram: Array, separation: int, joins: int) -> float:
    """Return a bound of the norm of a sum of columns, over every pattern one device may join in.

    Args:
        gram: G = L' L, of shape ``(rounds, rounds)``, without a negative entry.
        separation: Least distance of two joins, in rounds, at least 1.
        joins: Most joins, at least 1.

    Returns:
        Never below the maximum.

    Raises:
        ValueError: If an entry is negative or no number.

    Examples:
        >>> most_moved(np.eye(4), 1, 4)
        2.0
        >>> most_moved(np.eye(4), 2, 4)**2
        2.0000000000000004
    """
    if not (gram >= 0.0).all():
        raise ValueError("the Gram matrix has a negative entry: its worst pattern is not known")
    rounds = gram.shape[0]
    own = np.diag(gram)
    places = np.arange(rounds)
    # before[i, j]: the most that q joins in the rounds up to i, kept apart, add to column j.
    before = np.zeros_like(gram)
    chain = own.copy()  # the worst sum over P x P of q joins, the last of them in round j
    worst = float(chain.max())
    for _ in range(1, min(joins, -(-rounds // separation))):
        added = gram.copy()
        added[separation:] += before[:-separation]
        before = np.maximum.accumulate(added, axis=0)
        last = places - separation
        reached = last >= 0
        earlier = np.maximum.accumulate(chain)
        longer = np.full(rounds, -math.inf)
        longer[reached] = (
            own[reached] + 2.0 * before[last[reached], places[reached]] + earlier[last[reached]]
        )
        chain = longer
        worst = max(worst, float(chain.max()))
    return math.sqrt(worst)


def worst_sensitivity(
    theta: tuple[float, ...], omega: tuple[float, ...], rounds: int, separation: int, joins: int
) -> float:
    """Return the most that one device moves the correlated sums by, in clip norms.

    Args:
        theta: Decay of each buffer.
        omega: Weight of each, as many.
        rounds: Rounds of the run, at least 1.
        separation: Least distance of two joins, in rounds, at least 1.
        joins: Most joins, at least 1.

    Returns:
        Of a search over all patterns up to ``MOST_SEARCHED`` rounds; of more rounds that of the
        earliest, closest pattern, once the column was seen to be non-negative and never to rise:
        then every entry of its Gram matrix is at least that of any other pattern, since joins later
        or further apart overlap in fewer and smaller terms. In float64: to a relative 1e-12 or so.

    Raises:
        ValueError: If neither holds.
    """
    column = first_column(theta, omega, rounds)
    if not np.isfinite(column).all():
        raise ValueError("the strategy's column is not finite")
    if rounds <= MOST_SEARCHED:
        return most_moved(gram_matrix(column), separation, joins)
    if column.min() < 0.0 or (np.diff(column) > 0.0).any():
        raise ValueError("the strategy's column rises: its worst pattern is not known")
    joined = np.zeros(rounds)
    for start in range(0, min(rounds, joins * separation), separation):
        joined[start:] += column[: rounds - start]
    return float(np.linalg.norm(joined))
