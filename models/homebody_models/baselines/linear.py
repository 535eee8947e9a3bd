"""Item-to-item baselines: a history times one matrix; item-kNN and EASE in three forms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_models.baselines.baseline import OWN_DECAY, Array, Axes, Setting, own_again, recency
from homebody_models.baselines.gram import Head, gram, head_of
from homebody_models.history_columns import Histories
from homebody_models.interactions import Interactions
from homebody_models.recommender import Scores

_TAIL = 1e-6  # items without a row are ordered by popularity, at the height of a score of zero


@dataclass(frozen=True, slots=True)
class Linear:
    """Scores = recency weights of a history times an item-to-item matrix.

    Attributes:
        head: Items the matrix is about.
        matrix: float32 of shape ``(h, h)``.
        decay: Weight of an event relative to the next newer one; 1: each distinct item counts 1.
        repeat: What a device's own recent choices add to their scores.
    """

    head: Head
    matrix: Array = field(repr=False)
    decay: float
    repeat: float

    def __call__(self, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
        """Return a score for each item, shape ``(len(histories), items)``."""
        columns = Histories.of(histories)
        counted = columns.distinct() if self.decay == 1.0 else columns
        known = counted.known(self.head.place)
        weights = recency(known, len(self.head.items), self.decay)
        scores = np.tile(np.float32(_TAIL) * self.head.popular, (len(columns), 1))
        scores[:, self.head.items] += weights @ self.matrix
        if self.repeat:
            own = recency(columns, scores.shape[1], OWN_DECAY)
            scores += np.float32(self.repeat) * own
        return scores


@dataclass(frozen=True, slots=True)
class ItemKnn:
    """Cosine similarity of items over devices; each item keeps its nearest neighbours.

    Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (2001),
    https://doi.org/10.1145/371920.372071.
    """

    name: str = "item-knn"
    note: str = "nearest items by cosine similarity"

    def axes(self, train: Interactions) -> Axes:
        """Return numbers of neighbours; 0 keeps all."""
        return {"neighbours": (200.0, 50.0, 0.0), **own_again(train)}

    def fit_each(
        self,
        train: Interactions,
        settings: Sequence[Setting],
        *,
        seed: int,  # noqa: ARG002 protocol
    ) -> Iterator[Scores]:
        """Count pairs once, and keep fewer or more neighbours."""
        head = head_of(train)
        pairs = gram(train, head, window=1.0, normalised=False)
        size = np.sqrt(np.maximum(np.diag(pairs), 1.0))
        cosine = (pairs / size / size[:, None]).astype(np.float32)
        np.fill_diagonal(cosine, 0.0)
        kept, matrix = 0.0, cosine
        for setting in settings:
            if setting["neighbours"] != kept:
                kept = setting["neighbours"]
                matrix = _nearest(cosine, int(kept))
            yield Linear(head, matrix, 1.0, setting.get("repeat", 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ease:
    """EASE: each item is a linear function of the others, by one inverse of the Gram matrix.

    Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (2019),
    https://arxiv.org/abs/1905.03375. With windows the Gram matrix weighs a pair of items by how
    close the device chose them, and each device's matrix has norm 1.

    Attributes:
        name: Name of the row.
        note: What it is, in words.
        windows: Weights of a pair relative to one a step closer; empty for plain counts.
        ridges: Ridge terms to choose from.
        decays: Recency decays of a history in ranking; empty where each item counts the same.
    """

    name: str
    note: str
    windows: tuple[float, ...] = ()
    ridges: tuple[float, ...]
    decays: tuple[float, ...] = ()

    def axes(self, train: Interactions) -> Axes:
        """Return windows, ridges and decays, where there is more than one."""
        axes = {"window": self.windows, "ridge": self.ridges, "decay": self.decays}
        return {**{name: tried for name, tried in axes.items() if tried}, **own_again(train)}

    def fit_each(
        self,
        train: Interactions,
        settings: Sequence[Setting],
        *,
        seed: int,  # noqa: ARG002 protocol
    ) -> Iterator[Scores]:
        """Invert a Gram matrix for each window and ridge."""
        head = head_of(train)
        window, ridge = float("nan"), float("nan")
        pairs, matrix = np.zeros((0, 0)), np.zeros((0, 0), np.float32)
        for setting in settings:
            if setting.get("window", 1.0) != window:
                window, ridge = setting.get("window", 1.0), float("nan")
                pairs = gram(train, head, window=window, normalised=bool(self.windows))
            if setting["ridge"] != ridge:
                ridge = setting["ridge"]
                matrix = _ease(pairs, ridge)
            yield Linear(head, matrix, setting.get("decay", 1.0), setting.get("repeat", 0.0))


def _ease(pairs: npt.NDArray[np.float64], ridge: float) -> Array:
    """Return B = I - P diag(P)^-1 with P = (G + ridge I)^-1; its diagonal is 0."""
    inverse = np.linalg.inv(pairs + ridge * np.eye(len(pairs)))
    matrix = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def _nearest(similarity: Array, kept: int) -> Array:
    """Return similarities of each item to its ``kept`` nearest, else 0; rows are neighbours."""
    if kept == 0 or kept >= len(similarity):
        return similarity
    least = np.partition(similarity, len(similarity) - kept, axis=0)[len(similarity) - kept]
    return np.where(similarity >= least, similarity, np.float32(0.0))


EASE = Ease(
    name="ease", note="EASE, each item of a history counts the same", ridges=(300.0, 100.0, 1000.0)
)
EASE_RECENCY = Ease(
    name="ease-recency",
    note="EASE, newer items of a history count more",
    ridges=(300.0, 100.0, 1000.0),
    decays=(0.8, 0.6, 0.9, 0.97),
)
EASE_WINDOWED = Ease(
    name="ease-windowed",
    note="EASE on pairs weighted by how close a device chose them",
    windows=(0.9, 0.8, 0.95, 0.6),
    ridges=(3.0, 1.0, 10.0),
    decays=(0.8, 0.7, 0.9, 0.5, 0.3, 0.97),
)
