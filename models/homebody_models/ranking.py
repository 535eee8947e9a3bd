"""Rank the catalog on the device, and say why: numpy, no network.

A user vector is made of the newest events (``mean``: their weighted mean; ``ridge``: a solve), then
score = row . user vector * gain + bias + adjust. ``mean-repeat`` adds gain * repeat * share to what
the history holds: its share of the weights says how likely an item is chosen again. Lists are in
the order (-score, index). A reason is exact: the score is computed again without one item of the
history.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from homebody_models.history import HistoryWindow, normalised
from homebody_models.item_table import DenseTable, ItemTable, int8_table
from homebody_models.order import distinct, serving_order
from homebody_models.quantise import PackedModel, exported_problem

if TYPE_CHECKING:
    from homebody_models.recommender import Exported

HIDE: Final = -1e9
"""Add this to an item's score through ``adjust`` to leave the item out of every list."""

_HIDDEN_BELOW: Final = -5e8
_SHORTEST: Final = 1e-12  # a row of zeros is like nothing

History = Sequence[int] | npt.NDArray[np.integer]


class Ranker:
    """Ranks with one model; holds no personal state.

    Args:
        model: A packed model, as in a bundle, or an exported one, before quantisation.
        table: Another engine's table over the rows of ``model``; None for numpy's.

    Examples:
        >>> from homebody_models.recommender import Exported
        >>> table = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
        >>> ranker = Ranker(
        ...     Exported(
        ...         encoder="mean",
        ...         embeddings=table,
        ...         bias=np.array([0, 0, 0.5], np.float32),
        ...         history_max=64,
        ...         history_decay=0.9,
        ...     )
        ... )
        >>> [item for item, score in ranker.top([0], 2)]
        [0, 1]
        >>> ranker.top([], 1)
        [(2, 0.5)]
    """

    __slots__ = ("_bias", "_gram", "_problem", "_repeat", "_table", "_weights", "encoder")

    def __init__(self, model: "PackedModel | Exported", table: ItemTable | None = None) -> None:
        """Expand the table where that is cheap and solve what does not depend on a person."""
        self.encoder = model.encoder
        if isinstance(model, PackedModel):
            self._table = table or int8_table(model.rows, model.scale)
            window, self._problem = model.window, model.problem
            self._repeat = model.repeat
        else:
            self._table = table or DenseTable(model.embeddings)
            window = HistoryWindow(model.history_max, model.history_decay)
            self._problem = exported_problem(model)
            self._repeat = model.repeat or 0.0
        self._weights = window.slots(np.zeros(window.history_max, np.int64))[1]
        self._bias = np.asarray(model.bias, np.float32)
        self._gram = None if self._problem is None else self._table.gram()

    def __len__(self) -> int:
        """Count the items."""
        return len(self._bias)

    def scores(
        self,
        history: History,
        *,
        adjust: npt.NDArray[np.float32] | None = None,
        gain: float = 1.0,
    ) -> npt.NDArray[np.float32]:
        """Return the score of every item.

        Args:
            history: Item indices, oldest first; may be empty. Secret.
            adjust: Added to the scores, shape ``(items,)``; ``HIDE`` leaves an item out. None for
                nothing.
            gain: Strength of personalisation in [0, 1]; at 0 the list is the same for all.

        Returns:
            float32 of shape ``(items,)``. Secret.

        Raises:
            ValueError: If an index is not of the catalog, or a number is not finite.
        """
        items, weights = self._slots(history, gain)
        if len(items) and self.encoder != "none":
            scores = self._table.times(self._users(items, weights[None], gain)[0])
            scores += self._bias
            if self._repeat:
                own = (gain * self._repeat * normalised(weights)).astype(np.float32)
                np.add.at(scores, items, own)
        else:
            scores = self._bias.copy()
        if adjust is not None:
            scores += self._checked(adjust)
        return scores

    def top(
        self,
        history: History,
        k: int,
        *,
        adjust: npt.NDArray[np.float32] | None = None,
        gain: float = 1.0,
    ) -> list[tuple[int, float]]:
        """Return the best items as (index, score), best first; a tie goes to the lower index.

        Args:
            history: Item indices, oldest first; may be empty. Secret.
            k: Longest list, at least 0; fewer visible items give a shorter one.
            adjust: As in ``scores``.
            gain: As in ``scores``.

        Raises:
            ValueError: As in ``scores``.
        """
        scores = self.scores(history, adjust=adjust, gain=gain)
        visible = None if adjust is None else np.asarray(adjust) > _HIDDEN_BELOW
        return [(int(i), float(scores[i])) for i in serving_order(scores, k, visible)]

    def reasons(
        self, history: History, items: Sequence[int], *, gain: float = 1.0
    ) -> list[list[tuple[int, float]]]:
        """Return for each item the history items that raised its score, strongest first.

        All events of a history item are taken out together and the score is computed again; what
        it falls by is the cause's share. Other events keep their weight.

        Args:
            history: Item indices, oldest first. Secret.
            items: Items to explain.
            gain: As in ``scores``.

        Returns:
            For each of ``items`` a list of (history item, drop), drops above 0 only; empty where
            nothing in the history raised the score.

        Raises:
            ValueError: As in ``scores``.
        """
        causes, drops = self.drops(history, items, gain=gain)
        return [
            [
                (int(causes[c]), float(column[c]))
                for c in np.argsort(-column, kind="stable")
                if column[c] > 0.0
            ]
            for column in drops.T
        ]

    def drops(
        self, history: History, items: Sequence[int], *, gain: float = 1.0
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return by how much each item's score falls without each item of the history.

        Args:
            history: Item indices, oldest first. Secret.
            items: Items to explain.
            gain: As in ``scores``.

        Returns:
            The distinct items of the history that count, rising, and the falls, shape ``(causes,
            items)``; below 0 where the score would rise.

        Raises:
            ValueError: As in ``scores``.
        """
        asked = self._indices(items)
        slots, weights = self._slots(history, gain)
        if not len(slots) or self.encoder == "none" or not len(asked):
            return np.zeros(0, np.int64), np.zeros((0, len(asked)))
        causes = distinct(slots)
        without = np.where(slots[None] == causes[:, None], 0.0, weights)  # (causes, slots)
        users = self._users(slots, np.vstack((weights, without)), gain)
        scores = users.astype(np.float64) @ self._table.rows(asked).astype(np.float64).T
        own = slots[:, None] == asked  # (slots, asked)
        scores += gain * self._repeat * (normalised(np.vstack((weights, without))) @ own)
        return causes, scores[0] - scores[1:]  # the bias cancels

    def vectors(self, items: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Return the rows of some items, shape ``(len(items), dim)``; dim 0 for ``none``."""
        return self._table.rows(self._indices(items))

    def likeness(self, item: int) -> npt.NDArray[np.float32]:
        """Return how alike each item is to one: the cosine of their rows, floored at 0.

        Args:
            item: An item.

        Returns:
            float32 of shape ``(items,)``, in [0, 1]; zeros for the encoder ``none``.

        Raises:
            ValueError: If the index is not of the catalog.
        """
        row = self.vectors([item])[0]
        lengths = self._table.lengths()
        own = np.float32(max(float(lengths[item]), _SHORTEST))
        product = self._table.times(row / own)
        return np.clip(product / np.maximum(lengths, np.float32(_SHORTEST)), 0.0, 1.0)

    def _users(
        self, items: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], gain: float
    ) -> npt.NDArray[np.float32]:
        """Return user vectors of shape ``(n, dim)`` for weights of shape ``(n, slots)``."""
        rows = self._table.rows(items)
        if self._problem is None or self._gram is None:
            users = normalised(weights).astype(np.float32) @ rows
        else:
            users = self._problem.user_vectors(self._gram, rows, weights)
        return (gain * users).astype(np.float32)

    def _slots(
        self, history: History, gain: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return checked slots of the newest events."""
        if not (math.isfinite(gain) and 0.0 <= gain <= 1.0):
            raise ValueError(f"gain must be in [0, 1], got {gain!r}")
        items = self._indices(history)[-len(self._weights) :]
        return items, self._weights[len(self._weights) - len(items) :]

    def _indices(self, items: History) -> npt.NDArray[np.int64]:
        """Return item indices as an array, refusing what is not in the catalog."""
        array = np.asarray(items)
        if not array.size:
            return np.zeros(0, np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError("items must be a sequence of whole numbers")
        whole = array.astype(np.int64)
        if whole.view(np.uint64).max() >= len(self):  # below 0 is very large
            raise ValueError(f"items must be indices in 0..{len(self) - 1}")
        return whole

    def _checked(self, adjust: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return ``adjust`` in float32, refusing what would spoil a list."""
        array = np.asarray(adjust, np.float32)
        if array.shape != (len(self),) or not np.isfinite(array).all():
            raise ValueError(f"adjust must be finite and have shape ({len(self)},)")
        return array
