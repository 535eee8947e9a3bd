"""From scores to a list: diversity, exploration and a cap on each group, one place at a time.

Maximal marginal relevance (Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking",
1998): a place goes to the item of the pool with the largest (1 - mmr) * score - mmr * similarity
to what is listed already, where scores are scaled to [0, 1] over the pool and cosines floored at 0.
With probability ``explore`` the place is drawn from the pool instead. The chance that an item got
its place, given the places before it, is its propensity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.order import serving_order

POOL: Final = 100
"""Candidates a list is chosen from, or as many as the list is long."""

Floats = npt.NDArray[np.floating]
Wholes = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a list.

    Attributes:
        item: Index of the item.
        propensity: Chance that this item got this place, given the places before it.
        explored: Whether it was drawn.
    """

    item: int
    propensity: float = 1.0
    explored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """How a list is chosen from its pool.

    Attributes:
        mmr: Weight of diversity in [0, 1].
        explore: Chance in [0, 1) that a place is drawn from the pool.
        rng: Randomness of the draws; needed where ``explore`` is above 0.
    """

    mmr: float = 0.0
    explore: float = 0.0
    rng: "np.random.Generator | None" = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range and draws without randomness."""
        if not 0.0 <= self.mmr <= 1.0:
            raise ValueError(f"mmr must be in [0, 1], got {self.mmr!r}")
        if not 0.0 <= self.explore < 1.0:
            raise ValueError(f"explore must be in [0, 1), got {self.explore!r}")
        if self.explore > 0.0 and self.rng is None:
            raise ValueError("explore needs rng: a draw without randomness is none")


def candidates(
    scores: Floats,
    n: int,
    *,
    visible: npt.NDArray[np.bool_] | None = None,
    room: Wholes | None = None,
    groups: Wholes | None = None,
) -> npt.NDArray[np.int64]:
    """Return a pool from which ``n`` places can be filled if the catalog can fill them at all.

    Args:
        scores: Shape ``(items,)``, finite.
        n: Places to fill, at least 0.
        visible: Items that may appear; None for all.
        room: Items each group may still have, shape ``(groups,)``; None for no cap.
        groups: Group of each item, -1 for none; needed with ``room``.

    Returns:
        int64 in serving order: the best ``max(n, 100)``, and, where their groups are too full for
        ``n`` places, the best of the other groups, until there is room or nothing is left.
    """
    size = max(n, POOL)
    pool = serving_order(scores, size, visible)
    if room is None or groups is None:
        return pool
    mask = None if visible is None else visible.copy()
    while _places(groups[pool], room) < n:
        mask = np.ones(len(scores), np.bool_) if mask is None else mask
        mask[pool] = False
        taken = np.bincount(groups[pool][groups[pool] >= 0], minlength=len(room))
        full = np.append(taken >= room, [False])  # the last entry stands for no group
        mask &= ~full[groups]
        more = serving_order(scores, size, mask)
        if not len(more):
            break
        pool = np.concatenate((pool, more))
    return pool[np.lexsort((pool, -scores[pool]))]


def choose(
    pool: npt.NDArray[np.int64],
    scores: Floats,
    n: int,
    taste: Taste,
    *,
    vectors: Callable[[npt.NDArray[np.int64]], Floats] | None = None,
    groups: Wholes | None = None,
    room: npt.NDArray[np.int64] | None = None,
    listed: npt.NDArray[np.int64] | None = None,
) -> list[Place]:
    """Fill up to ``n`` places from a pool.

    Args:
        pool: Item indices, best first.
        scores: Scores of all items, shape ``(items,)``.
        n: Places, at least 0.
        taste: Diversity and exploration.
        vectors: Gives the rows of items, any length, for similarity; None for no similarity.
        groups: Group of each item, -1 for none; needed with ``room``.
        room: Items each group may still have; changed in place. None for no cap.
        listed: Items listed already, to which similarity counts too.

    Returns:
        The places in order; fewer than ``n`` if the pool has no more that fit.
    """
    diverse = taste.mmr > 0.0 and vectors is not None
    if not diverse and taste.explore == 0.0 and (room is None or groups is None):
        return [Place(int(item)) for item in pool[:n]]
    value = (1.0 - taste.mmr if diverse else 1.0) * _scaled(np.asarray(scores[pool], np.float64))
    units = _units(vectors(pool)) if diverse and vectors is not None else None
    nearest = np.zeros(len(pool))
    if units is not None and vectors is not None and listed is not None and len(listed):
        nearest = np.maximum(0.0, units @ _units(vectors(listed)).T).max(axis=1)
    group = None if groups is None or room is None else groups[pool]
    free = np.ones(len(pool), np.bool_)
    places: list[Place] = []
    if group is not None and room is not None:
        free &= (np.append(room, 1) > 0)[group]
    while len(places) < n and free.any():
        worth = value if units is None else value - taste.mmr * nearest
        spot, place = _fill(pool, np.where(free, worth, -np.inf), free, taste)
        places.append(place)
        free[spot] = False
        if units is not None:
            np.maximum(nearest, units @ units[spot], out=nearest)
        if group is not None and room is not None and group[spot] >= 0:
            room[group[spot]] -= 1
            if room[group[spot]] <= 0:
                free &= group != group[spot]
    return places


def _fill(
    pool: npt.NDArray[np.int64],
    worth: npt.NDArray[np.float64],
    free: npt.NDArray[np.bool_],
    taste: Taste,
) -> tuple[int, Place]:
    """Return the spot in the pool that gets the next place, and the place."""
    best = int(worth.argmax())
    if taste.explore == 0.0 or taste.rng is None:
        return best, Place(int(pool[best]))
    each = taste.explore / int(free.sum())
    if taste.rng.random() >= taste.explore:
        return best, Place(int(pool[best]), 1.0 - taste.explore + each)
    spot = int(taste.rng.choice(np.flatnonzero(free)))
    chance = each + (1.0 - taste.explore if spot == best else 0.0)
    return spot, Place(int(pool[spot]), chance, explored=True)


def _places(groups: Wholes, room: Wholes) -> int:
    """Return how many places a pool of these groups can fill."""
    grouped = groups[groups >= 0]
    counts = np.bincount(grouped, minlength=len(room))
    return int(np.minimum(counts, np.maximum(room, 0)).sum()) + len(groups) - len(grouped)


def _scaled(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return scores scaled to [0, 1]."""
    low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 0.0)
    return np.zeros_like(scores) if high <= low else (scores - low) / (high - low)


def _units(rows: Floats) -> npt.NDArray[np.float64]:
    """Return rows of length 1; a row of zeros stays one, and is like nothing."""
    array = np.asarray(rows, np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", array, array))
    return array / np.where(lengths > 0.0, lengths, 1.0)[:, None]
