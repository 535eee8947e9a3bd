"""What every baseline can do: be fitted with each setting of its grid, and score histories."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from homebody_models.history_columns import Histories
from homebody_models.interactions import Interactions
from homebody_models.recommender import Scores

Setting = Mapping[str, float]
"""Values of a baseline's settings by name. Public."""

Axes = Mapping[str, tuple[float, ...]]
"""Values to try of each setting. The search starts from the first of each."""

Array = npt.NDArray[np.float32]


class Baseline(Protocol):
    """A recommender that learns from all histories at once."""

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        ...

    @property
    def note(self) -> str:
        """What it is, in words, for the rows of a table."""
        ...

    def axes(self, train: Interactions) -> Axes:
        """Return the settings to choose, in order; of the data only its kind counts."""
        ...

    def fit_each(
        self, train: Interactions, settings: Sequence[Setting], *, seed: int
    ) -> Iterator[Scores]:
        """Yield a scorer for each setting, in order, sharing what they have in common.

        Args:
            train: Histories to learn from. Secret.
            settings: Settings, one value of each axis.
            seed: Draws initial values and batches, where there are any.
        """
        ...


def counts(train: Interactions) -> npt.NDArray[np.float64]:
    """Return how many devices chose each item, shape ``(items,)``."""
    chosen = np.zeros(len(train.catalog))
    for _, items in train.pairs():
        chosen += np.bincount(items, minlength=len(chosen))
    return chosen


def recency(
    histories: Sequence[npt.NDArray[np.integer]], items: int, decay: float, *, newest: int = 1_000
) -> Array:
    """Return each history as weights over the catalog that sum to 1, shape ``(n, items)``.

    Args:
        histories: Item indices, oldest first. Secret.
        items: Size of the catalog.
        decay: Weight of an event relative to the next newer one, in (0, 1].
        newest: Events that count.
    """
    columns = Histories.of(histories).newest(newest)
    owners, chosen = columns.events()
    powers = decay ** np.arange(newest, dtype=np.float64)
    shape = len(columns), items
    summed = np.bincount(
        owners * items + chosen, powers[columns.ages()], minlength=shape[0] * shape[1]
    ).reshape(shape)
    total = summed.sum(axis=1, keepdims=True)
    np.divide(summed, total, out=summed, where=total > 0.0)
    return summed.astype(np.float32)


def own_again(train: Interactions) -> Axes:
    """Return the axis ``repeat``, what own recent choices add, where they may come again."""
    return {"repeat": (1.0, 0.0, 0.3, 10.0)} if train.repeats else {}


OWN_DECAY = 0.9
"""Decay of the recency weights that ``repeat`` multiplies: half the weight in 7 events."""
