"""Two towers over one item table: a history is the mean of its items, an item its own row.

With E = V + F W (item ids plus public content F), x the recency weights of a history, and
h = x E, the scores are h E^T + b + repeat x; training predicts the next event by softmax over the
whole catalog. The last term is no parameter: what a person chose, they may choose again. The
gradient has a closed form: with R = (softmax - target) / cuts and G = R E, dE = R^T H + X^T G,
dV = dE, dW = F^T dE, db = R^T 1. No autograd is needed on a device.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.history import HistoryWindow
from homebody_models.history_columns import Histories
from homebody_models.quantise import LARGEST_VALUE
from homebody_models.recommender import Exported, Layout, LocalGradient, PrivacySplit, Scores
from homebody_models.scoring import products

Array = npt.NDArray[np.float32]

_BLOCK = 512  # histories scored at once
_GATHERED = 32  # of which rows are gathered at once: 512 KB at dim 64, which stay near


@dataclass(frozen=True, slots=True, eq=False)
class TwoTower:
    """A tied two-tower model with full softmax.

    Attributes:
        n_items: Items of the catalog, at least 1.
        features: Public content of shape ``(items, features)``; may have no column.
        content: Whether the table also learns from ``features``, else from item ids alone.
        dim: Width of the item table, in 1..128.
        history_max: Newest events that form the user vector, in 1..64.
        history_decay: Weight of an event relative to the next newer one, in (0, 1].
        init_scale: Root mean square length of an initial row. Small values give a flat softmax,
            in which a model hardly starts to learn.
        cuts: Most next events a device trains on in one gradient, at least 1.
        repeat: What an item's share of the recency weights adds to its own score, in 0..1e4;
            above 0 where items are chosen again (groceries).

    Examples:
        >>> model = TwoTower(3, np.zeros((3, 0), np.float32), dim=2)
        >>> flat = np.array([1, 0, 0, 1, 1, 1, 0, 0, 0.5], np.float32)  # V, then b
        >>> model.scores(flat, [np.array([0])]).round(3).tolist()
        [[1.0, 0.0, 1.5]]
    """

    n_items: int
    features: Array = field(repr=False)
    _: KW_ONLY
    content: bool = False
    dim: int = 64
    history_max: int = 64
    history_decay: float = 0.9
    init_scale: float = 5.0
    cuts: int = 8
    repeat: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a shape no device could rank with."""
        if self.n_items < 1 or self.cuts < 1:
            raise ValueError(f"n_items and cuts must be >= 1, got {self.n_items}, {self.cuts}")
        if not 1 <= self.dim <= 128:  # noqa: PLR2004 keeps a bundle small
            raise ValueError(f"dim must be in 1..128, got {self.dim}")
        if not 0.0 < self.init_scale < np.inf:
            raise ValueError(f"init_scale must be finite and above 0, got {self.init_scale!r}")
        if not 0.0 <= self.repeat <= LARGEST_VALUE:  # false for NaN too
            raise ValueError(f"repeat must be in 0..{LARGEST_VALUE:g}, got {self.repeat!r}")
        if self.features.ndim != 2 or len(self.features) != self.n_items:  # noqa: PLR2004 a matrix
            raise ValueError(f"features must have {self.n_items} rows, got {self.features.shape}")
        self._window()

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        return "two-tower"

    @property
    def layout(self) -> Layout:
        """``V`` (items, dim), ``W`` (features, dim) if there is content, ``b`` (items,)."""
        shapes: dict[str, tuple[int, ...]] = {"V": (self.n_items, self.dim)}
        if self.content:
            shapes["W"] = (self.features.shape[1], self.dim)
        shapes["b"] = (self.n_items,)
        return Layout(shapes)

    def init(self, rng: np.random.Generator) -> Array:
        """Return V from N(0, init_scale^2 / dim), W = 0, b = 0."""
        flat = np.zeros(self.layout.size, np.float32)
        shape = (self.n_items, self.dim)
        std = self.init_scale / np.sqrt(self.dim)
        self.layout.views(flat)["V"][:] = std * rng.standard_normal(shape, np.float32)
        return flat

    def local_gradient(
        self, parameters: Array, history: npt.NDArray[np.integer], draws: Draws
    ) -> LocalGradient:
        """Return the gradient of the mean cross entropy of some next events of one device.

        Args:
            parameters: Shared parameters of shape ``(size,)``. Public.
            history: Item indices, oldest first; fewer than two events give zeros. Secret.
            draws: Choose at most ``cuts`` positions, without replacement; each predicts the event
                there from the events before it.
        """
        layout = self.layout
        vector = np.zeros(layout.size)
        positions = self._positions(len(history), draws)
        m = len(positions)
        if not m:
            return LocalGradient(vector, float("nan"), 0)
        table, b = self._table(parameters)
        items, shares = self._window().shares([history[:cut] for cut in positions])
        hidden = _users(table, items, shares)  # (m, dim)
        x = np.zeros((m, self.n_items), np.float32)
        rows, targets = np.arange(m), history[positions]
        np.add.at(x, (rows[:, None], items), shares)  # an item chosen twice adds up
        residual = hidden @ table.T + b  # scores, (m, items)
        residual += np.float32(self.repeat) * x
        loss = _softmax_in_place(residual, targets)
        residual[rows, targets] -= 1.0
        residual /= m
        back = residual @ table  # (m, dim)
        views = layout.views(vector)
        gradient = np.vstack((residual, x)).T @ np.vstack((hidden, back))
        views["V"][:] = gradient
        if self.content:
            views["W"][:] = self.features.T @ gradient
        views["b"][:] = residual.sum(axis=0)
        return LocalGradient(vector, loss, m)

    def scores(self, parameters: Array, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
        """Return a score for each item, shape ``(len(histories), items)``; b if no history."""
        return self._scores(self._table(parameters), histories, apart=False)

    def scorer(self, parameters: Array, *, apart: bool = False) -> Scores:
        """Return ``scores`` of these parameters, their table made once; see ``ScoresMany``."""
        return partial(self._scores, self._table(parameters), apart=apart)

    def privacy_split(self) -> PrivacySplit:
        """Name what may leave in an update; the user vector never does."""
        return PrivacySplit(shared=tuple(self.layout.shapes), personal=("user_vector",))

    def export(self, parameters: Array) -> Exported:
        """Return a model of encoder ``mean`` or ``mean-repeat``, content folded into the table."""
        table, b = self._table(parameters)
        return Exported(
            encoder="mean-repeat" if self.repeat else "mean",
            embeddings=np.array(table),
            bias=np.array(b),
            history_max=self.history_max,
            history_decay=self.history_decay,
            repeat=self.repeat or None,
        )

    def _scores(
        self,
        shared: tuple[Array, Array],
        histories: Sequence[npt.NDArray[np.integer]],
        *,
        apart: bool,
    ) -> Array:
        """Return ``scores`` by a table and a bias."""
        table, b = shared
        columns = Histories.of(histories)
        scores = np.empty((len(columns), self.n_items), np.float32)
        for start in range(0, len(columns), _BLOCK):
            items, shares = self._window().shares(columns[start : start + _BLOCK])
            block = scores[start : start + len(items)]
            products(_users(table, items, shares), table, block, apart=apart)
            if self.repeat:
                rows = np.arange(len(items))[:, None]
                np.add.at(block, (rows, items), np.float32(self.repeat) * shares)
        scores += b
        return scores

    def _window(self) -> HistoryWindow:
        """Return the events that form the user vector."""
        return HistoryWindow(self.history_max, self.history_decay)

    def _table(self, parameters: Array) -> tuple[Array, Array]:
        """Return the item table E of shape ``(items, dim)`` and the bias."""
        views = self.layout.views(np.asarray(parameters, np.float32))
        table = views["V"]
        if self.content:
            table = table + self.features @ views["W"]
        return table.astype(np.float32, copy=False), views["b"].astype(np.float32, copy=False)

    def _positions(self, events: int, draws: Draws) -> npt.NDArray[np.int64]:
        """Return the positions in 1..events-1 to predict, ascending."""
        if events - 1 <= self.cuts:
            return np.arange(1, max(events, 1))
        return draws.subset(events - 1, self.cuts) + 1


def _users(table: Array, items: npt.NDArray[np.int64], shares: Array) -> Array:
    """Return user vectors of shape ``(n, dim)`` from the slots of each history."""
    if items.size and not 0 <= items.min() <= items.max() < len(table):
        raise IndexError("a history holds an item outside the catalog")
    users = np.empty((len(items), table.shape[1]), np.float32)
    rows = np.empty((min(len(items), _GATHERED), items.shape[1], table.shape[1]), np.float32)
    for start in range(0, len(items), _GATHERED):
        part = items[start : start + _GATHERED]
        own = rows[: len(part)]
        np.take(table, part, axis=0, out=own, mode="clip")  # checked above: no other mode is fast
        here = slice(start, start + len(part))
        np.matmul(shares[here, None, :], own, out=users[here, None, :])
    return users


def _softmax_in_place(scores: Array, targets: npt.NDArray[np.integer]) -> float:
    """Turn each row into its softmax; return the mean cross entropy of the targets, in nats."""
    rows = np.arange(len(scores))
    scores -= scores.max(axis=1, keepdims=True)
    own = scores[rows, targets].astype(np.float64)
    np.exp(scores, out=scores)
    total = scores.sum(axis=1, dtype=np.float64)
    scores /= total[:, None].astype(np.float32)
    return float((np.log(total) - own).mean())
