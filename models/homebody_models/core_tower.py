"""Two towers over a finished item table: rounds learn how its directions count, and nothing else.

One-shot statistics give a table V and levels b. Rounds over all of V would drown: every entry gets
the same noise, and there are hundreds of thousands. Here V and b stay as they are, and the rounds
train one symmetric matrix M of rank(rank + 1)/2 numbers: scores are x V M V^T + b + repeat x, with
x the recency weights of a history, and M the identity at the start, where the model ranks as its
statistics do. The sum of the gradients of 6,000 devices then stands well above the noise.

The loss is that of ranking: the softmax over what may come next, without the items that the device
chose before where those are hidden in its lists. With them in it every form of round made the model
worse: the loss spends itself on pushing them down. ``sharpness`` scales the scores in the softmax
alone; the statistics' own scores are too flat for it to be steep where the first ten places are.

With u = x V of a cut, q = V^T (softmax - target), m cuts and s the sharpness, the gradient is
(s / 2m) sum (u q^T + q u^T), packed so that norms are kept; its squared norm is
(s / m)^2 / 2 sum over cuts a, b of (u_a.u_b)(q_a.q_b) + (u_a.q_b)(q_a.u_b).
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt

from homebody_models.core_matrix import pack_core, unpack_core, with_core
from homebody_models.draws import Draws
from homebody_models.history import HistoryWindow
from homebody_models.quantise import LARGEST_VALUE
from homebody_models.recommender import Exported, Layout, LocalGradient, PrivacySplit, Scores
from homebody_models.two_tower import TwoTower

Array = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CoreTower:
    """A two-tower model whose table is frozen and whose core is trained.

    Attributes:
        n_items: Items of the catalog, at least 1.
        dim: Width r of the item table, in 1..128.
        history_max: Newest events that form the user vector, in 1..64.
        history_decay: Weight of an event relative to the next newer one, in (0, 1].
        cuts: Newest next events a device trains on, at least 1: they are most like the one that
            comes now.
        sharpness: What scores are multiplied by in the softmax of training, above 0.
        repeat: What an item's share of the recency weights adds to its own score, in 0..1e4.
        hidden: Whether items chosen before are left out of the softmax, as they are of lists of new
            items; False where items are chosen again.

    Examples:
        >>> model = CoreTower(2, dim=1)
        >>> flat = model.start(np.array([1, 2, 0, 0.5], np.float32))  # V, then b; M = 1
        >>> model.scores(flat, [np.array([0])]).round(3).tolist()
        [[1.0, 2.5]]
    """

    n_items: int
    _: KW_ONLY
    dim: int = 64
    history_max: int = 64
    history_decay: float = 0.6
    cuts: int = 4
    sharpness: float = 3.5
    repeat: float = 0.0
    hidden: bool = True

    def __post_init__(self) -> None:
        """Refuse a shape no device could rank with."""
        if self.n_items < 1 or self.cuts < 1:
            raise ValueError(f"n_items and cuts must be >= 1, got {self.n_items}, {self.cuts}")
        if not 1 <= self.dim <= 128:  # noqa: PLR2004 keeps a bundle small
            raise ValueError(f"dim must be in 1..128, got {self.dim}")
        if not 0.0 < self.sharpness < np.inf:
            raise ValueError(f"sharpness must be finite and above 0, got {self.sharpness!r}")
        if not 0.0 <= self.repeat <= LARGEST_VALUE:  # false for NaN too
            raise ValueError(f"repeat must be in 0..{LARGEST_VALUE:g}, got {self.repeat!r}")
        self._window()

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        return "core-tower"

    @property
    def layout(self) -> Layout:
        """``V`` (items, dim) and ``b`` (items,), frozen; ``M``, packed, trained."""
        return Layout(
            {
                "V": (self.n_items, self.dim),
                "b": (self.n_items,),
                "M": (self.dim * (self.dim + 1) // 2,),
            },
            frozen=("V", "b"),
        )

    def start(self, statistics: Array) -> Array:
        """Return the parameters that rank as the statistics' model does: its own, and M = 1.

        Args:
            statistics: V and b, flat, of shape ``(items * dim + items,)``.

        Raises:
            ValueError: If it has another shape.
        """
        if statistics.shape != (self.layout.frozen_size,):
            raise ValueError(f"expected {self.layout.frozen_size} values, got {statistics.shape}")
        return with_core(statistics, self.dim)

    def init(self, rng: np.random.Generator) -> Array:
        """Return V from N(0, 1 / dim), b = 0 and M = 1: a start for tests, without statistics."""
        table = rng.standard_normal(self.n_items * self.dim, np.float32) / np.sqrt(self.dim)
        return self.start(np.concatenate((table, np.zeros(self.n_items))).astype(np.float32))

    def local_gradient(
        self, parameters: Array, history: npt.NDArray[np.integer], draws: Draws
    ) -> LocalGradient:
        """Return the gradient by M of the mean cross entropy of a device's newest next events.

        Args:
            parameters: V, b and M, flat, of shape ``(size,)``. Public.
            history: Item indices, oldest first; fewer than two events give zeros. Secret.
            draws: Not used: the newest events are no matter of chance.
        """
        del draws
        views = self.layout.views(np.asarray(parameters))
        positions = np.arange(max(1, len(history) - self.cuts), len(history))
        m = len(positions)
        if not m:
            return LocalGradient(np.zeros(self.layout.trained_size), float("nan"), 0)
        table = views["V"].astype(np.float64)
        items, shares = self._window().shares([history[:cut] for cut in positions])
        users = (shares.astype(np.float64)[:, None, :] @ table[items])[:, 0]
        scores = users @ unpack_core(views["M"].astype(np.float64), self.dim) @ table.T
        scores += views["b"]
        rows = np.arange(m)
        if self.repeat:
            np.add.at(scores, (rows[:, None], items), self.repeat * shares.astype(np.float64))
        scores *= self.sharpness
        targets = np.asarray(history)[positions]
        if self.hidden:
            _hide(scores, history, positions)
        scores -= scores.max(axis=1, keepdims=True)
        own = scores[rows, targets].copy()
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        scores /= total
        scores[rows, targets] -= 1.0
        gradient = users.T @ (scores @ table) * (self.sharpness / m)
        loss = float((np.log(total[:, 0]) - own).mean())
        return LocalGradient(pack_core(0.5 * (gradient + gradient.T)), loss, m)

    def scores(self, parameters: Array, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
        """Return a score for each item, shape ``(len(histories), items)``; b if no history."""
        return self._folded().scores(self._fold(parameters), histories)

    def scorer(self, parameters: Array, *, apart: bool = False) -> Scores:
        """Return ``scores`` of these parameters, the core folded once; see ``ScoresMany``."""
        return self._folded().scorer(self._fold(parameters), apart=apart)

    def privacy_split(self) -> PrivacySplit:
        """Name what may leave in an update; the user vector never does."""
        return PrivacySplit(shared=("M",), personal=("user_vector",))

    def export(self, parameters: Array) -> Exported:
        """Return a model of encoder ``mean`` or ``mean-repeat``, the core folded into the table."""
        return self._folded().export(self._fold(parameters))

    def _window(self) -> HistoryWindow:
        """Return the events that form the user vector."""
        return HistoryWindow(self.history_max, self.history_decay)

    def _folded(self) -> TwoTower:
        """Return the model that ranks the same with one table."""
        return TwoTower(
            self.n_items,
            np.zeros((self.n_items, 0), np.float32),
            dim=self.dim,
            history_max=self.history_max,
            history_decay=self.history_decay,
            repeat=self.repeat,
        )

    def _fold(self, parameters: Array) -> Array:
        """Return V M^(1/2) and b; directions that noise made negative count nothing."""
        views = self.layout.views(np.asarray(parameters, np.float32))
        strength, turn = np.linalg.eigh(unpack_core(views["M"].astype(np.float64), self.dim))
        root = (turn * np.sqrt(np.maximum(strength, 0.0))) @ turn.T
        table = views["V"].astype(np.float64) @ root
        return np.concatenate((table.ravel(), views["b"])).astype(np.float32)


def _hide(
    scores: Vector, history: npt.NDArray[np.integer], positions: npt.NDArray[np.int64]
) -> None:
    """Put what was chosen before each position out of the softmax; its target stays in."""
    for row, position in enumerate(positions):
        own = scores[row, history[position]]
        scores[row, history[:position]] = -np.inf
        scores[row, history[position]] = own
