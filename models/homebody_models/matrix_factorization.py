"""Matrix factorisation whose user vector never leaves: it is solved for on the device.

Only the item table Q is shared. A device finds its user vector by ridge regression on its own
history and sends the gradient of the same loss with respect to Q. Because the vector minimises that
loss, the gradient with the vector held fixed is the whole gradient (Danskin), and it has rank one:
a p^T. Singhal et al., "Federated Reconstruction" (2021), https://arxiv.org/abs/2102.03448.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.history import HistoryWindow
from homebody_models.recommender import Exported, Layout, LocalGradient, PrivacySplit, Scores
from homebody_models.ridge import Ridge
from homebody_models.scoring import products

Array = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

_SOLVED = 64  # user vectors solved for at once: 4 MB of rows and systems at dim 64


@dataclass(frozen=True, slots=True)
class MatrixFactorization:
    """Item table and bias; scores q_i . u + bias_scale b_i with u solved on the device.

    Attributes:
        n_items: Items of the catalog, at least 1.
        dim: Width of the item table, in 1..128.
        history_max: Newest events the user vector is solved from, in 1..64.
        history_decay: Weight of an event relative to the next newer one, in (0, 1].
        ridge: Regularisation of the user vector, above 0.
        unseen_weight: Weight of each item's squared score, at least 0.
        init_scale: Root mean square length of an initial row.
        bias_scale: Weight of the bias in a score; small, because the factors already know what is
            popular and the bias has only to order the list of a device without history.
    """

    n_items: int
    _: KW_ONLY
    dim: int = 64
    history_max: int = 64
    history_decay: float = 0.9
    ridge: float = 0.1
    unseen_weight: float = 0.1
    init_scale: float = 1.0
    bias_scale: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse a shape no device could rank with."""
        if self.n_items < 1:
            raise ValueError(f"n_items must be at least 1, got {self.n_items}")
        if not 1 <= self.dim <= 128:  # noqa: PLR2004 keeps a bundle small
            raise ValueError(f"dim must be in 1..128, got {self.dim}")
        if not (0.0 < self.init_scale < np.inf and 0.0 <= self.bias_scale < np.inf):
            raise ValueError("init_scale must be above 0 and bias_scale at least 0, both finite")
        self._window()
        self._problem()

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        return "matrix-factorization"

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
        self,
        parameters: Array,
        history: npt.NDArray[np.integer],
        draws: Draws,  # noqa: ARG002 protocol
    ) -> LocalGradient:
        """Return the gradient of one device's squared loss; zeros for an empty history.

        The loss is [sum_j w_j (1 - q_j.u)^2 + unseen_weight |Q u|^2 + ridge |u|^2] / sum_j w_j at
        its minimum over u, plus |b - y/|y||^2 / 2 with y = 1 for an item of the history.
        """
        layout = self.layout
        vector = np.zeros(layout.size)
        items, weights = self._window().slots(history)
        if not len(items):
            return LocalGradient(vector, float("nan"), 0)
        views = layout.views(np.asarray(parameters, np.float32))
        table, b = views["Q"], views["b"].astype(np.float64)
        user = self._problem().user_vectors(_gram(table), table[items], weights[None])[0]
        scores = (table @ user.astype(np.float32)).astype(np.float64)
        chosen = np.zeros(self.n_items)
        chosen[items] = 1.0
        target = chosen / np.sqrt(chosen.sum())
        a = self.unseen_weight * scores
        np.add.at(a, items, weights * (scores[items] - 1.0))  # an item chosen twice adds up
        total = weights.sum()
        gradient = layout.views(vector)
        gradient["Q"][:] = np.outer(2.0 / total * a, user)
        gradient["b"][:] = b - target
        fit = (weights * (1.0 - scores[items]) ** 2).sum() + self.ridge * user @ user
        fit += self.unseen_weight * scores @ scores
        loss = float(fit / total + 0.5 * ((b - target) ** 2).sum())
        return LocalGradient(vector, loss, len(items))

    def scores(self, parameters: Array, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
        """Return a score for each item, shape ``(len(histories), items)``."""
        return self._scores(self._shared(parameters), histories, apart=False)

    def scorer(self, parameters: Array, *, apart: bool = False) -> Scores:
        """Return ``scores`` of these parameters, the Gram matrix made once; see ``ScoresMany``."""
        return partial(self._scores, self._shared(parameters), apart=apart)

    def privacy_split(self) -> PrivacySplit:
        """Name what may leave in an update; the user vector never does."""
        return PrivacySplit(shared=("Q", "b"), personal=("user_vector",))

    def export(self, parameters: Array) -> Exported:
        """Return a model of encoder ``ridge``: the device solves for its user vector."""
        views = self.layout.views(np.asarray(parameters, np.float32))
        return Exported(
            encoder="ridge",
            embeddings=views["Q"].astype(np.float32),
            bias=np.float32(self.bias_scale) * views["b"].astype(np.float32),
            history_max=self.history_max,
            history_decay=self.history_decay,
            ridge=self.ridge,
            unseen_weight=self.unseen_weight,
        )

    def _shared(self, parameters: Array) -> tuple[Array, Vector, Array]:
        """Return the item table, its Gram matrix and the scaled bias."""
        views = self.layout.views(np.asarray(parameters, np.float32))
        bias = np.float32(self.bias_scale) * views["b"].astype(np.float32)
        return views["Q"].astype(np.float32, copy=False), _gram(views["Q"]), bias

    def _scores(
        self,
        shared: tuple[Array, Vector, Array],
        histories: Sequence[npt.NDArray[np.integer]],
        *,
        apart: bool,
    ) -> Array:
        """Return ``scores`` by what devices share."""
        table, gram, bias = shared
        users = np.zeros((len(histories), self.dim), np.float32)
        for rows, items, weights in self._window().by_length(histories, _SOLVED):
            users[rows] = self._problem().each_user(gram, table[items], weights)
        scores = np.empty((len(users), self.n_items), np.float32)
        products(users, table, scores, apart=apart)
        scores += bias
        return scores

    def _window(self) -> HistoryWindow:
        """Return the events the user vector is solved from."""
        return HistoryWindow(self.history_max, self.history_decay)

    def _problem(self) -> Ridge:
        """Return the quadratic problem of the user vector."""
        return Ridge(self.ridge, self.unseen_weight)


def _gram(table: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return Q^T Q."""
    return (table.T @ table).astype(np.float64)
