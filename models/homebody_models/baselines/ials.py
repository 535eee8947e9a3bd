"""iALS: user and item vectors by alternating ridge regressions on what was chosen.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (2008), with the
regularisation by frequency of Rendle et al., "Revisiting the Performance of iALS" (2021),
https://arxiv.org/abs/2110.14037. A device's vector is solved for from its history, as in
``MatrixFactorization``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.baselines.baseline import OWN_DECAY, Array, Axes, Setting, own_again, recency
from homebody_models.history_columns import Histories
from homebody_models.interactions import Interactions
from homebody_models.recommender import Scores
from homebody_models.ridge import Ridge

DIM: Final = 64
SWEEPS: Final = 8
"""Times that all user and all item vectors are solved for."""

_INIT: Final = 0.1  # length of an initial row, as in the paper

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ials:
    """iALS of 64 dimensions; each distinct item of a history counts once."""

    name: str = "ials"
    note: str = "matrix factorisation by alternating least squares, 64 dimensions"

    def axes(self, train: Interactions) -> Axes:
        """Return weights of unseen items and regularisations."""
        unseen = {"unseen_weight": (0.1, 0.3), "ridge": (0.01, 0.003, 0.03)}
        return {**unseen, **own_again(train)}

    def fit_each(
        self, train: Interactions, settings: Sequence[Setting], *, seed: int
    ) -> Iterator[Scores]:
        """Solve for user and item vectors in turn, from small random ones."""
        histories = [np.unique(train.history(device)) for device in range(train.devices)]
        known, table = (float("nan"), float("nan")), np.zeros((0, DIM))
        for setting in settings:
            if (setting["unseen_weight"], setting["ridge"]) != known:
                known = setting["unseen_weight"], setting["ridge"]
                table = _fit(histories, len(train.catalog), *known, seed=seed)
            yield _Ials(table, *known, setting.get("repeat", 0.0))


@dataclass(frozen=True, slots=True)
class _Ials:
    """Item vectors, and how a user vector is found from a history."""

    table: Vectors = field(repr=False)
    unseen_weight: float
    ridge: float
    repeat: float

    def __call__(self, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
        own = Histories.of(histories).distinct()
        users = _solve(own, self.table, self.unseen_weight, self.ridge)
        scores: Array = users.astype(np.float32) @ self.table.T.astype(np.float32)
        if self.repeat:
            again = recency(histories, len(self.table), OWN_DECAY)
            scores += np.float32(self.repeat) * again
        return scores


def _fit(
    histories: Sequence[npt.NDArray[np.integer]],
    items: int,
    unseen_weight: float,
    ridge: float,
    *,
    seed: int,
) -> Vectors:
    """Return item vectors of shape ``(items, DIM)``."""
    choosers = _transposed(histories, items)
    rng = np.random.default_rng(seed)
    table: Vectors = _INIT / np.sqrt(DIM) * rng.standard_normal((items, DIM))
    for _ in range(SWEEPS):
        users = _solve(histories, table, unseen_weight, ridge)
        table = _solve(choosers, users, unseen_weight, ridge)
    return table


def _solve(
    chosen: Sequence[npt.NDArray[np.integer]], table: Vectors, unseen_weight: float, ridge: float
) -> Vectors:
    """Return the vector of each row of ``chosen``; zeros where nothing was chosen."""
    gram = table.T @ table
    vectors: Vectors = np.zeros((len(chosen), table.shape[1]))
    for row, own in enumerate(chosen):
        if len(own):
            strength = ridge * (len(own) + unseen_weight * len(table))
            problem = Ridge(ridge=strength, unseen_weight=unseen_weight)
            vectors[row] = problem.user_vectors(gram, table[own], np.ones((1, len(own))))[0]
    return vectors


def _transposed(
    histories: Sequence[npt.NDArray[np.integer]], items: int
) -> list[npt.NDArray[np.integer]]:
    """Return the devices that chose each item."""
    lengths = [len(history) for history in histories]
    everything = np.concatenate([np.zeros(0, np.int64), *histories])
    order = np.argsort(everything, kind="stable")
    devices = np.repeat(np.arange(len(histories)), lengths)[order]
    bounds = np.cumsum(np.bincount(everything.astype(np.int64), minlength=items))[:-1]
    return list(np.split(devices, bounds))
