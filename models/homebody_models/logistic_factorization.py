"""Matrix factorisation by logistic loss and sampled negatives, trained by passes on the devices.

Only the item table Q and the item bias b are shared. In a round a device starts from a user vector
made of its own history, passes once over that history by stochastic gradient descent, and sends how
Q and b changed: federated averaging (McMahan et al., 2017, https://arxiv.org/abs/1602.05629) whose
personal part never leaves. A user vector starts as the mean of its items' rows, the one a device
ranks with, so that training and ranking agree.

The table alone would rank for a person with a history: what is popular becomes a direction of it.
The bias is there for those without one, whose user vector is zero.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.history import HistoryWindow, normalised
from homebody_models.logistic_epoch import Epoch, local_epoch
from homebody_models.recommender import Exported, Layout, LocalGradient, PrivacySplit, Scores
from homebody_models.scoring import products

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LogisticFactorization:
    """Item table and bias; logits q_i . p + b_i with p the mean of a history's rows.

    Attributes:
        n_items: Items of the catalog, at least 1.
        dim: Width of the item table, in 1..128.
        history_max: Newest events that form the user vector, in 1..64.
        history_decay: Weight of an event relative to the next newer one, in (0, 1].
        init_scale: Root mean square length of an initial row.
        batch: Positives a local step, at least 1.
        negatives: Items drawn for each positive, uniformly and with repeats, at least 1. One may
            be an item of the history.
        rows_rate: Local learning rate of item rows and biases, above 0.
        user_rate: Local learning rate of the user vector, at least 0.

    Examples:
        >>> model = LogisticFactorization(3, dim=2)
        >>> flat = np.array([1, 0, 0, 1, 1, 1, 0, 0, 0.5], np.float32)  # Q, then b
        >>> model.scores(flat, [np.array([0])]).round(3).tolist()
        [[1.0, 0.0, 1.5]]
    """

    n_items: int
    _: KW_ONLY
    dim: int = 64
    history_max: int = 64
    history_decay: float = 0.9
    init_scale: float = 1.0
    batch: int = 32
    negatives: int = 4
    rows_rate: float = 1.0
    user_rate: float = 0.3

    def __post_init__(self) -> None:
        """Refuse a shape no device could rank with, and a pass that would not train."""
        if self.n_items < 1 or self.negatives < 1:
            raise ValueError(
                f"n_items and negatives must be >= 1, got {self.n_items}, {self.negatives}"
            )
        if not 1 <= self.dim <= 128:  # noqa: PLR2004 keeps a bundle small
            raise ValueError(f"dim must be in 1..128, got {self.dim}")
        if not 0.0 < self.init_scale < np.inf:
            raise ValueError(f"init_scale must be finite and above 0, got {self.init_scale!r}")
        self.window()
        self.epoch()

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        return "logistic-factorization"

    @property
    def layout(self) -> Layout:
        """``Q`` of shape ``(items, dim)`` and ``b`` of shape ``(items,)``."""
        return Layout({"Q": (self.n_items, self.dim), "b": (self.n_items,)})

    def init(self, rng: np.random.Generator) -> Array:
        """Return Q from N(0, init_scale^2 / dim) and b = 0."""
        flat = np.zeros(self.layout.size, np.float32)
        shape = (self.n_items, self.dim)
        std = self.init_scale / np.sqrt(self.dim)
        self.layout.views(flat)["Q"][:] = std * rng.standard_normal(shape, np.float32)
        return flat

    def local_gradient(
        self, parameters: Array, history: npt.NDArray[np.integer], draws: Draws
    ) -> LocalGradient:
        """Return Q and b less what one pass over the history makes of them.

        It is the pseudo-gradient of federated averaging: minus the vector is the device's change,
        local learning rates included. Zeros for an empty history.

        Args:
            parameters: Shared parameters of shape ``(size,)``. Public.
            history: Item indices, oldest first. Secret.
            draws: The negatives of position j are its items ``negatives * j`` and following.
        """
        layout = self.layout
        vector = np.zeros(layout.size)
        views = layout.views(np.asarray(parameters, np.float32))
        n = len(history)
        if not n:
            return LocalGradient(vector, float("nan"), 0)
        drawn = draws.items(self.n_items, self.negatives * n).reshape(n, self.negatives)
        user = self._user(views["Q"], history)
        change = local_epoch(views["Q"], views["b"], user, history, drawn, self.epoch())
        gradient = layout.views(vector)
        gradient["Q"][change.items] = -change.rows
        gradient["b"][change.items] = -change.biases
        if not np.isfinite(change.user).all():
            vector.fill(np.nan)  # the last step's rows need not show it
        return LocalGradient(vector, change.loss, n)

    def scores(self, parameters: Array, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
        """Return a score for each item, shape ``(len(histories), items)``; b if no history."""
        return self._scores(self._shared(parameters), histories, apart=False)

    def scorer(self, parameters: Array, *, apart: bool = False) -> Scores:
        """Return ``scores`` of these parameters; see ``ScoresMany``."""
        return partial(self._scores, self._shared(parameters), apart=apart)

    def privacy_split(self) -> PrivacySplit:
        """Name what may leave in an update; the user vector never does."""
        return PrivacySplit(shared=("Q", "b"), personal=("user_vector",))

    def export(self, parameters: Array) -> Exported:
        """Return a model of encoder ``mean``."""
        views = self.layout.views(np.asarray(parameters, np.float32))
        return Exported(
            encoder="mean",
            embeddings=np.array(views["Q"], np.float32),
            bias=np.array(views["b"], np.float32),
            history_max=self.history_max,
            history_decay=self.history_decay,
        )

    def window(self) -> HistoryWindow:
        """Return the events that form the user vector."""
        return HistoryWindow(self.history_max, self.history_decay)

    def epoch(self) -> Epoch:
        """Return how a device passes over its history."""
        return Epoch(batch=self.batch, rows_rate=self.rows_rate, user_rate=self.user_rate)

    def _shared(self, parameters: Array) -> tuple[Array, Array]:
        """Return Q and b in float32."""
        views = self.layout.views(np.asarray(parameters, np.float32))
        return views["Q"].astype(np.float32, copy=False), views["b"].astype(np.float32, copy=False)

    def _scores(
        self,
        shared: tuple[Array, Array],
        histories: Sequence[npt.NDArray[np.integer]],
        *,
        apart: bool,
    ) -> Array:
        """Return ``scores`` by Q and b."""
        table, b = shared
        users = np.zeros((len(histories), self.dim), np.float32)
        for rows, items, weights in self.window().by_length(histories):
            with np.errstate(over="ignore", invalid="ignore"):  # as in ``_user``
                users[rows] = (normalised(weights)[None] @ table[items])[:, 0]
        scores = np.empty((len(users), self.n_items), np.float32)
        products(users, table, scores, apart=apart)
        scores += b
        return scores

    def _user(self, table: npt.NDArray[np.floating], history: npt.NDArray[np.integer]) -> Array:
        """Return the user vector of a history, of shape ``(dim,)``; zeros if it is empty."""
        items, weights = self.window().slots(history)
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number adds zeros later
            mean: Array = (normalised(weights) @ table[items]).astype(np.float32)
        return mean
