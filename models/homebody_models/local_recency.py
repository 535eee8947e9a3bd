"""Local recency: a device ranks by its own history alone; nothing is learned from anyone.

The honest row ``local-only`` of a report: what a shared model must beat to be worth its price.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.history_columns import Histories
from homebody_models.recommender import Exported, Layout, LocalGradient, PrivacySplit


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRecency:
    """Score of an item = sum of ``history_decay ** age`` over the device's own events of it.

    Items never chosen tie at 0; no hidden popularity breaks the tie. All events count, not only
    the newest 64.

    Attributes:
        n_items: Items of the catalog, at least 1.
        history_decay: Weight of an event relative to the next newer one, in (0, 1].

    Examples:
        >>> model = LocalRecency(n_items=3, history_decay=0.5)
        >>> model.scores(np.zeros(0, np.float32), [np.array([1, 2, 1])]).tolist()
        [[0.0, 1.25, 0.5]]
    """

    n_items: int
    history_decay: float = 0.99

    def __post_init__(self) -> None:
        """Refuse an empty catalog and a decay outside (0, 1]."""
        if self.n_items < 1:
            raise ValueError(f"n_items must be at least 1, got {self.n_items}")
        if not 0.0 < self.history_decay <= 1.0:
            raise ValueError(f"history_decay must be in (0, 1], got {self.history_decay!r}")

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        return "local-recency"

    @property
    def layout(self) -> Layout:
        """No tensor: nothing is shared."""
        return Layout({})

    def init(self, rng: np.random.Generator) -> npt.NDArray[np.float32]:  # noqa: ARG002 protocol
        """Return the empty vector."""
        return np.zeros(0, np.float32)

    def local_gradient(
        self,
        parameters: npt.NDArray[np.float32],
        history: npt.NDArray[np.integer],  # noqa: ARG002 protocol
        draws: Draws,  # noqa: ARG002 protocol
    ) -> LocalGradient:
        """Return the empty gradient: there is nothing to train."""
        self.layout.views(parameters)
        return LocalGradient(np.zeros(0), float("nan"), 0)

    def scores(
        self,
        parameters: npt.NDArray[np.float32],
        histories: Sequence[npt.NDArray[np.integer]],
    ) -> npt.NDArray[np.float32]:
        """Return recency-weighted counts, shape ``(len(histories), items)``."""
        self.layout.views(parameters)
        columns = Histories.of(histories)
        owners, items = columns.events()
        weights = self.history_decay ** columns.ages().astype(np.float64)
        shape = len(columns), self.n_items
        scores = np.bincount(owners * self.n_items + items, weights, minlength=shape[0] * shape[1])
        return scores.reshape(shape).astype(np.float32)

    def privacy_split(self) -> PrivacySplit:
        """Name what is personal: everything."""
        return PrivacySplit(shared=(), personal=("history",))

    def export(self, parameters: npt.NDArray[np.float32]) -> Exported:
        """Refuse: there are no shared parameters that a bundle could carry.

        Raises:
            ValueError: Always.
        """
        self.layout.views(parameters)
        raise ValueError("local-recency has no shared parameters to put into a bundle")
