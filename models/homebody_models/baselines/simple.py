"""Baselines that learn nothing, or one number an item: popularity, local-only and rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from homebody_models.baselines.baseline import OWN_DECAY, Array, Axes, Setting, counts, recency
from homebody_models.history_columns import Histories
from homebody_models.interactions import Interactions
from homebody_models.local_recency import LocalRecency
from homebody_models.popularity import popularity_baseline
from homebody_models.recommender import Scores

_LATELY = 10  # events that a rule looks at


@dataclass(frozen=True, slots=True)
class Bestsellers:
    """Popularity: the same list for all.

    Items count by the devices that chose them; or, where items come again, by their share of each
    device's events (``popularity_baseline``), whichever validation prefers.
    """

    name: str = "popularity"
    note: str = "the same list for all; no differential privacy"

    def axes(self, train: Interactions) -> Axes:
        """Return both ways to count, where they differ."""
        return {"events": (0.0, 1.0)} if train.repeats else {}

    def fit_each(
        self,
        train: Interactions,
        settings: Sequence[Setting],
        *,
        seed: int,  # noqa: ARG002 protocol
    ) -> Iterator[Scores]:
        """Count devices or shares of events."""
        for setting in settings:
            by_events = setting.get("events", 0.0)
            shared = popularity_baseline(train) if by_events else counts(train).astype(np.float32)
            yield partial(_same_for_all, shared)


def _same_for_all(shared: Array, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
    return np.tile(shared, (len(histories), 1))


@dataclass(frozen=True, slots=True)
class LocalOnly:
    """The device's own recent choices (``LocalRecency``): chance where only new items count."""

    name: str = "local-only"
    note: str = "the device's own recent choices; nothing is shared, nothing learned from others"

    def axes(self, train: Interactions) -> Axes:  # noqa: ARG002 protocol
        """Return the decays of a choice's weight."""
        return {"decay": (0.9, 0.8, 0.95, 0.98, 1.0)}

    def fit_each(
        self,
        train: Interactions,
        settings: Sequence[Setting],
        *,
        seed: int,  # noqa: ARG002 protocol
    ) -> Iterator[Scores]:
        """Learn nothing."""
        for setting in settings:
            model = LocalRecency(n_items=len(train.catalog), history_decay=setting["decay"])
            yield partial(model.scores, np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a shop writes by hand: first what you had, then bestsellers of the shelves you are at.

    An item scores its popularity within its category times the category's share of the device's
    newest ten events. Where items are chosen again, the device's own recent choices add to that.
    Without categories bestsellers are left.
    """

    name: str = "rules"
    note: str = "by hand: own recent choices, then bestsellers of the categories chosen lately"

    def axes(self, train: Interactions) -> Axes:
        """Return how much a device's own choices add, where they may come again."""
        return {"repeat": (100.0, 0.0)} if train.repeats else {}

    def fit_each(
        self,
        train: Interactions,
        settings: Sequence[Setting],
        *,
        seed: int,  # noqa: ARG002 protocol
    ) -> Iterator[Scores]:
        """Count devices."""
        names = train.catalog.categories
        level = {name: index for index, name in enumerate(sorted(set(names)))}
        shelf = np.array([level[name] for name in names], np.int64)
        popular = counts(train)
        popular /= max(popular.max(initial=0.0), 1.0)
        for setting in settings:
            yield _Rules(shelf, popular.astype(np.float32), setting.get("repeat", 0.0))


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules with the counts they need; ``shelf`` is each item's category."""

    shelf: npt.NDArray[np.int64]
    popular: Array
    repeat: float

    def __call__(self, histories: Sequence[npt.NDArray[np.integer]]) -> Array:
        shelves = int(self.shelf.max(initial=0)) + 1
        columns = Histories.of(histories)
        share = recency(columns.newest(_LATELY).known(self.shelf), shelves, 1.0)
        scores: Array = share[:, self.shelf] * self.popular
        scores += np.float32(1e-3) * self.popular  # the rest of the list: bestsellers
        if self.repeat:
            own = recency(columns, len(self.popular), OWN_DECAY)
            scores += np.float32(self.repeat) * own
        return scores
