"""Choose the BLT strategy whose running sums have the least error at a given loss.

Error times sensitivity, as in https://arxiv.org/abs/2408.08868, is minimised over logit(theta) and
log(omega) by Nelder and Mead, "A Simplex Method for Function Minimization" (1965), from fixed
starts: no randomness, the same answer each time. The result depends on public facts alone.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from .blt import BltParameters, Participation, prefix_error, sensitivity

Array = npt.NDArray[np.float64]

INDEPENDENT: Final = BltParameters(theta=(0.5,), omega=(2.0**-40,))
"""As good as no correlation: error and sensitivity of independent noise, to a relative 1e-12."""

_STARTS: Final = {  # by number of buffers: logit(theta), then log(omega)
    1: ((4.5, -1.8), (3.0, -1.5)),
    2: ((4.5, 1.5, -1.8, -1.2), (3.0, 0.0, -1.5, -1.2)),
}
_FAR: Final = 40.0  # beyond it a logit is 0 or 1 and an exponential nothing
_EARNED: Final = {1: 1e-9, 2: 1e-4}  # what log(E S) must fall by; a buffer is a model copy
_OPTIONS: Final = {"maxiter": 400, "xatol": 1e-4, "fatol": 1e-7}


def optimise(part: Participation, *, buffers: Sequence[int] = (1, 2)) -> BltParameters:
    """Find the strategy with the least error of running sums at equal privacy loss.

    Args:
        part: Rounds, separation and cap of the run. Public.
        buffers: Numbers of buffers to try, from 1 and 2; each is one model copy on the server.

    Returns:
        The best strategy found, slowest buffer first; two buffers only where they gain a
        relative 1e-4 on one. Never worse than independent noise, which is the first candidate,
        by more than a relative 1e-11. No theta is above 1 - 1 / (100 rounds): a slower decay
        changes little but the cost of rounding.

    Raises:
        ValueError: If ``buffers`` is empty or holds another number.

    Examples:
        >>> p = optimise(Participation(rounds=100, min_separation=25, max_rounds=4), buffers=[1])
        >>> [round(x, 2) for x in p.theta + p.omega]
        [0.91, 0.47]
    """
    if not buffers or not set(buffers) <= set(_STARTS):
        raise ValueError(f"buffers must be some of {sorted(_STARTS)}, got {list(buffers)}")
    best = INDEPENDENT
    for number in sorted(set(buffers)):
        found = [_search(part, start) for start in _STARTS[number]]
        challenger = min(found, key=lambda p: loss(p, part))
        if loss(challenger, part) < loss(best, part) - _EARNED[number]:
            best = challenger
    return best


def loss(p: BltParameters, part: Participation) -> float:
    """Return log(E S): mean error of running sums per unit of noise, times sensitivity."""
    return math.log(prefix_error(p, part.rounds)[0] * sensitivity(p, part))


def _search(part: Participation, start: Sequence[float]) -> BltParameters:
    def objective(x: Array) -> float:
        p = _parameters(x, part.rounds)
        return math.inf if p is None else loss(p, part)

    best = minimize(objective, np.array(start), method="Nelder-Mead", options=_OPTIONS).x
    return _parameters(best, part.rounds) or INDEPENDENT


def _parameters(x: Array, rounds: int) -> BltParameters | None:
    """Return the strategy at a point of the search, None outside of the allowed range."""
    if np.abs(x).max() > _FAR:
        return None
    logits, logs = np.split(x, 2)
    order = np.argsort(-logits)
    theta = 1.0 / (1.0 + np.exp(-logits[order]))
    omega = np.exp(logs[order])
    if theta[0] > 1.0 - 0.01 / rounds or math.fsum(omega) > 1.0:
        return None
    return BltParameters(theta=tuple(theta.tolist()), omega=tuple(omega.tolist()))
