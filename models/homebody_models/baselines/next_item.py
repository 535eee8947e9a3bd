"""A two-tower model trained on one machine to predict the next event, without privacy.

The model is ``TwoTower``: scores h E^T + b + repeat x, with h the recency-weighted mean of a
history's rows. Here all histories are in one place, so that batches mix devices and Adam (Kingma
and Ba, 2014, https://arxiv.org/abs/1412.6980) replaces federated rounds. Softmax over the whole
catalog, or over negatives where it is large.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.baselines.baseline import Array, Axes, Setting
from homebody_models.history import normalised
from homebody_models.interactions import Interactions
from homebody_models.negatives import draw_negatives
from homebody_models.recommender import Scores
from homebody_models.two_tower import TwoTower

DIM: Final = 64
DECAY: Final = 0.8
STEPS: Final = (800, 2_000)
"""Fewest and most steps; between, as many as draw each event twice on average."""

BATCH: Final = 1_024
WHOLE: Final = 8_192
"""Largest catalog with a softmax over all of it; beyond, over NEGATIVES and the target."""

NEGATIVES: Final = 64
_SLOTS: Final = 32
_RATE: Final = 0.01  # of the first step; it falls to zero along a line
_FAST: Final = 0.1
_SLOW: Final = 0.01
_REPEAT: Final = 20.0  # as in federated training on groceries

Slots = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NextItem:
    """A two-tower model of 64 dimensions, trained on next events of devices drawn evenly."""

    name: str = "two-tower"
    note: str = "the project's two-tower model, trained centrally on next events"

    def axes(self, train: Interactions) -> Axes:  # noqa: ARG002 protocol
        """Return nothing: its settings are those of the project's federated reference."""
        return {}

    def fit_each(
        self, train: Interactions, settings: Sequence[Setting], *, seed: int
    ) -> Iterator[Scores]:
        """Train one model a setting."""
        for _ in settings:
            model = TwoTower(
                len(train.catalog),
                train.catalog.features,
                dim=DIM,
                history_max=_SLOTS,
                history_decay=DECAY,
                init_scale=1.0,
                repeat=_REPEAT if train.repeats else 0.0,
            )
            yield partial(model.scores, _Training(model, train, seed).run())


@dataclass(frozen=True, slots=True)
class _Batch:
    """Next events to predict.

    Attributes:
        devices: Whose they are, shape ``(n,)``.
        targets: The items that came, shape ``(n,)``.
        items: The events before, newest first, shape ``(n, slots)``; 0 in an unused slot.
        shares: Their weights, which sum to 1; 0 in an unused slot.
    """

    devices: Slots = field(repr=False)
    targets: Slots = field(repr=False)
    items: Slots = field(repr=False)
    shares: Array = field(repr=False)


class _Training:
    """Adam on batches of next events."""

    def __init__(self, model: TwoTower, train: Interactions, seed: int) -> None:
        self._model = model
        self._train = train
        self._rng = np.random.default_rng(seed)
        self._able = np.flatnonzero(np.diff(train.ptr) > 1)

    def run(self) -> Array:
        """Return trained parameters; initial ones if no device has two events."""
        flat = self._model.init(self._rng)
        views = self._model.layout.views(flat)
        table, bias = views["V"], views["b"]
        first, second = np.zeros_like(flat), np.zeros_like(flat)
        whole = self._model.n_items <= WHOLE
        twice = 2 * len(self._train.items) // BATCH
        steps = min(max(twice, STEPS[0]), STEPS[1]) if len(self._able) else 0
        for step in range(steps):
            batch = self._batch(BATCH if whole else BATCH // 4)
            if whole:
                rows, own = _over_all(batch, table, bias, self._model.repeat)
            else:
                rows, own = _over_some(
                    batch, self._candidates(batch), table, bias, self._model.repeat
                )
            gradient = np.concatenate((rows.ravel(), own))
            first += _FAST * (gradient - first)
            second += _SLOW * (gradient * gradient - second)
            rate = _RATE * (1.0 - step / steps) / (1.0 - (1.0 - _FAST) ** (step + 1))
            scale = np.sqrt(second / (1.0 - (1.0 - _SLOW) ** (step + 1))) + 1e-8
            flat -= np.float32(rate) * first / scale
        return flat

    def _batch(self, n: int) -> _Batch:
        """Draw devices evenly, and of each an event that has one before it."""
        ptr, items = self._train.ptr, self._train.items
        devices = self._rng.choice(self._able, n)
        start, stop = ptr[devices], ptr[devices + 1]
        places = start + 1 + (self._rng.random(n) * (stop - start - 1)).astype(np.int64)
        before = places[:, None] - np.arange(1, _SLOTS + 1)
        used = before >= start[:, None]
        weights = used * self._model.history_decay ** np.arange(_SLOTS, dtype=np.float64)
        return _Batch(
            devices=devices,
            targets=items[places].astype(np.int64),
            items=np.where(used, items[np.maximum(before, 0)], 0).astype(np.int64),
            shares=normalised(weights).astype(np.float32),
        )

    def _candidates(self, batch: _Batch) -> Slots:
        """Return each target and, after it, negatives from outside the device's training items."""
        drawn = [
            draw_negatives(self._train.history(device), self._model.n_items, NEGATIVES, self._rng)
            for device in batch.devices
        ]
        return np.column_stack((batch.targets, np.array(drawn)))


def _over_all(batch: _Batch, table: Array, bias: Array, repeat: float) -> tuple[Array, Array]:
    """Return the gradient of the mean cross entropy over the whole catalog, as ``TwoTower``'s."""
    n = len(batch.targets)
    rows = np.arange(n)
    hidden = _hidden(batch, table)
    x = np.zeros((n, len(table)), np.float32)
    np.add.at(x, (rows[:, None], batch.items), batch.shares)
    residual: Array = hidden @ table.T
    residual += bias
    if repeat:
        residual += np.float32(repeat) * x
    _softmax(residual)
    residual[rows, batch.targets] -= 1.0
    residual /= n
    gradient: Array = residual.T @ hidden + x.T @ (residual @ table)
    return gradient, residual.sum(axis=0)


def _over_some(
    batch: _Batch, candidates: Slots, table: Array, bias: Array, repeat: float
) -> tuple[Array, Array]:
    """Return the gradient over each row's candidates, of which the first is the target."""
    n = len(batch.targets)
    hidden = _hidden(batch, table)
    theirs = table[candidates]  # (n, candidates, dim)
    residual: Array = (theirs @ hidden[:, :, None])[:, :, 0].astype(np.float32, copy=False)
    residual += bias[candidates]
    if repeat:
        again = candidates[:, :, None] == batch.items[:, None, :]
        residual += np.float32(repeat) * (again @ batch.shares[:, :, None])[:, :, 0]
    _softmax(residual)
    residual[:, 0] -= 1.0
    residual /= n
    back = (residual[:, None, :] @ theirs)[:, 0]
    gradient, own = np.zeros_like(table), np.zeros_like(bias)
    np.add.at(gradient, candidates, residual[:, :, None] * hidden[:, None, :])
    np.add.at(gradient, batch.items, batch.shares[:, :, None] * back[:, None, :])
    np.add.at(own, candidates, residual)
    return gradient, own


def _hidden(batch: _Batch, table: Array) -> Array:
    """Return the vector of each history, shape ``(n, dim)``."""
    hidden: Array = (batch.shares[:, None, :] @ table[batch.items])[:, 0]
    return hidden


def _softmax(scores: Array) -> None:
    """Turn each row into its softmax, in place."""
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
