"""The planted world of a synthetic population, and how some of its devices are drawn.

Each device prefers a few clusters of a latent space, popularity follows Zipf's law, some items
have a time of year, and history lengths are lognormal. A device's items are drawn together without
replacement by the Gumbel-top-k trick (Kool et al., 2019, https://arxiv.org/abs/1903.06059), then
each gets a time from its item's season: no loop over events, and no event depends on another.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.interactions import Catalog
from homebody_simulation.datasets.arrays import one_hot
from homebody_simulation.datasets.loader import YEAR_S, PlantedTruth

DIM: Final = 8
"""Dimension of tastes."""

_START: Final = 1_735_689_600  # 2025-01-01T00:00:00Z
_ZIPF: Final = 0.8  # exponent of the long tail
_TASTE: Final = 3.0  # log-weight between an item one likes and an average one
_SPREAD: Final = 0.25  # of items around the centre of their cluster
_SEASONAL: Final = 0.3  # share of items with a time of year
_LENGTH: Final = (3.0, 0.7)  # mean and deviation of the log length: median 20
_LEAST: Final = 3  # events: one to learn from, one to validate, one to test
_SCORES: Final = 1 << 23  # of all items for some devices at once: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The items of a population.

    Attributes:
        centres: Of the clusters, unit vectors, shape ``(clusters, DIM)``.
        cluster: Of each item, shape ``(items,)``.
        factors: Of each item, shape ``(items, DIM)``.
        popularity: Log weight of each item.
        phase: Time of year of its peak, radians.
        strength: Von Mises concentration of its season; 0 for all year.
        prices: Of each item.
    """

    centres: npt.NDArray[np.float64]
    cluster: npt.NDArray[np.int64]
    factors: npt.NDArray[np.float32]
    popularity: npt.NDArray[np.float32]
    phase: npt.NDArray[np.float32]
    strength: npt.NDArray[np.float32]
    prices: npt.NDArray[np.float32]

    @classmethod
    def draw(cls, items: int, rng: np.random.Generator) -> "World":
        """Draw a world of so many items."""
        centres = rng.normal(size=(max(3, min(20, items // 10)), DIM))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        cluster = rng.integers(len(centres), size=items)
        factors = centres[cluster] + _SPREAD * rng.normal(size=(items, DIM)) / np.sqrt(DIM)
        popularity = -_ZIPF * np.log1p(rng.permutation(items))
        strength = np.where(rng.random(items) < _SEASONAL, 3.0, 0.0)
        # Below 2 pi in float32 too: the largest double below it would round up to it.
        phase = rng.random(items, dtype=np.float32) * np.float32(6.283185)
        return cls(
            centres=centres,
            cluster=cluster,
            factors=factors.astype(np.float32),
            popularity=popularity.astype(np.float32),
            phase=phase,
            strength=strength.astype(np.float32),
            prices=rng.lognormal(1.0, 0.5, items).round(2).astype(np.float32),
        )

    def truth(self, users: npt.NDArray[np.float32]) -> PlantedTruth:
        """Say what was planted."""
        return PlantedTruth(
            user_factors=users,
            item_factors=self.factors,
            popularity=self.popularity,
            season_phase=self.phase,
            season_strength=self.strength,
            start=_START,
        )

    def catalog(self) -> Catalog:
        """Describe each item by its cluster, which a shop would know as its shelf."""
        shelves = [f"shelf {cluster + 1:02d}" for cluster in self.cluster]
        names, features = one_hot("shelf", shelves)
        return Catalog(
            ids=tuple(f"item-{item}" for item in range(len(shelves))),
            titles=tuple(f"Item {item}, {shelf}" for item, shelf in enumerate(shelves)),
            categories=tuple(shelves),
            features=features,
            feature_names=names,
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """Some neighbouring devices, or all. Secret, were it no simulation.

    Attributes:
        users: Tastes, shape ``(devices, DIM)``.
        lengths: Events of each device, shape ``(devices,)``.
        items: Of all events, device by device, oldest first.
        times: Likewise, Unix seconds.
        values: Likewise, prices.
    """

    users: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


def draw_devices(world: World, devices: int, rng: np.random.Generator) -> Drawn:
    """Draw each device's tastes, length of history, items and times.

    Args:
        world: What there is to choose from.
        devices: How many, at least 1.
        rng: Of these devices alone.
    """
    users = _users(world.centres, devices, rng)
    lengths = _lengths(devices, len(world.factors), rng)
    items = _choices(world, users, lengths, rng)
    items, times = _in_time(world, items, lengths, rng)
    return Drawn(users, lengths, items, times, world.prices[items])


def _users(
    centres: npt.NDArray[np.float64], devices: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Mix a few clusters for each device, all with the same strength of taste."""
    mix = rng.dirichlet(np.full(len(centres), 0.15), size=devices)
    tastes = mix @ centres
    tastes /= np.maximum(np.linalg.norm(tastes, axis=1, keepdims=True), 1e-12)
    return (_TASTE * tastes).astype(np.float32)


def _lengths(devices: int, items: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw lognormal history lengths, at most half the catalog."""
    drawn = rng.lognormal(*_LENGTH, size=devices)
    return np.clip(np.rint(drawn), _LEAST, items // 2).astype(np.int64)


def _choices(
    world: World,
    users: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> npt.NDArray[np.int32]:
    """Draw each device's items without replacement, proportional to the planted weights."""
    some = max(1, _SCORES // len(world.factors))
    return np.concatenate(
        [
            _first(world, users[start : start + some], lengths[start : start + some], rng)
            for start in range(0, len(users), some)
        ]
    )


def _first(
    world: World,
    users: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> npt.NDArray[np.int32]:
    """Draw a race of all items for each device, and return those that come in first."""
    race = rng.standard_exponential((len(users), len(world.factors)), dtype=np.float32)
    np.maximum(race, np.finfo(np.float32).tiny, out=race)  # 0 in 1 of 2**24 draws
    np.log(race, out=race)
    race -= users @ world.factors.T + world.popularity
    most = int(lengths.max())
    top = np.argpartition(race, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(race, top, axis=1), axis=1, kind="stable")
    ranked = np.take_along_axis(top, order, axis=1)
    return ranked[np.arange(most) < lengths[:, None]].astype(np.int32)


def _in_time(
    world: World,
    items: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Give each event a time of its item's season and put each history in order."""
    angle = rng.vonmises(world.phase[items], world.strength[items])
    share = np.mod(angle / (2.0 * np.pi), 1.0)
    times = _START + np.minimum((share * YEAR_S).astype(np.int64), YEAR_S - 1)
    device = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((times, device))
    return items[order], times[order]
