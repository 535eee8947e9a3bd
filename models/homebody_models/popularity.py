"""Popularity: one number an item, the same list for everyone.

The update of a device is its distinct items divided by their norm, as in statistics of bounded
sensitivity: its L2 norm is 1 by construction, so a clip norm of 1 never changes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.interactions import Interactions
from homebody_models.recommender import Exported, Layout, LocalGradient, PrivacySplit


@dataclass(frozen=True, slots=True)
class Popularity:
    """A bias for each item and nothing else.

    Attributes:
        n_items: Items of the catalog, at least 1.

    Examples:
        >>> model = Popularity(3)
        >>> model.scores(np.array([0.1, 0.5, 0.2], np.float32), [np.array([1])]).tolist()
        [[0.10000000149011612, 0.5, 0.20000000298023224]]
    """

    n_items: int

    def __post_init__(self) -> None:
        """Refuse an empty catalog."""
        if self.n_items < 1:
            raise ValueError(f"n_items must be at least 1, got {self.n_items}")

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        return "popularity"

    @property
    def layout(self) -> Layout:
        """One tensor: ``b`` of shape ``(items,)``."""
        return Layout({"b": (self.n_items,)})

    def init(self, rng: np.random.Generator) -> npt.NDArray[np.float32]:  # noqa: ARG002 protocol
        """Return zeros: before any round nothing is popular."""
        return np.zeros(self.n_items, np.float32)

    def local_gradient(
        self,
        parameters: npt.NDArray[np.float32],
        history: npt.NDArray[np.integer],
        draws: Draws,  # noqa: ARG002 protocol
    ) -> LocalGradient:
        """Return minus the distinct items over their norm.

        It is the gradient of the loss ``-b . y / |y|``, with y = 1 for an item of the history, so
        that a step of size 1 adds the device to a popularity count.

        Guarantees:
            The L2 norm of the vector is 1, or 0 for an empty history.
        """
        b = self.layout.views(parameters)["b"]
        vector = np.zeros(self.n_items)
        chosen = np.unique(history)
        if not len(chosen):
            return LocalGradient(vector, float("nan"), 0)
        vector[chosen] = -1.0 / np.sqrt(len(chosen))
        return LocalGradient(vector, float(vector @ b), len(chosen))

    def scores(
        self,
        parameters: npt.NDArray[np.float32],
        histories: Sequence[npt.NDArray[np.integer]],
    ) -> npt.NDArray[np.float32]:
        """Return ``b`` for every history, shape ``(len(histories), items)``."""
        b = self.layout.views(parameters)["b"].astype(np.float32)
        return np.tile(b, (len(histories), 1))

    def privacy_split(self) -> PrivacySplit:
        """Name what may leave in an update: ``b``. Nothing is personal."""
        return PrivacySplit(shared=("b",), personal=())

    def export(self, parameters: npt.NDArray[np.float32]) -> Exported:
        """Return a model of encoder ``none``: the bias alone."""
        b = self.layout.views(parameters)["b"].astype(np.float32)
        return Exported(
            encoder="none",
            embeddings=np.zeros((self.n_items, 0), np.float32),
            bias=b,
            history_max=1,
            history_decay=1.0,
        )


def popularity_baseline(train: Interactions) -> npt.NDArray[np.float32]:
    """Count events per item, each device counting 1 in total. Not private: for reports only.

    Args:
        train: Training histories. Secret.

    Returns:
        float32 of shape ``(items,)``: log(1 + count), parameters of ``Popularity``. Secret.
    """
    count = np.zeros(len(train.catalog))
    for part in train.parts():
        weights = 1.0 / np.repeat(part.lengths, part.lengths)
        np.add.at(count, part.items, weights)  # one after another, as if all came at once
    return np.log1p(count).astype(np.float32)
