"""A population of any size with planted tastes, a long tail and seasons.

Each device prefers a few clusters of a latent space, popularity follows Zipf's law, some items
have a time of year, and history lengths are lognormal. A device's items are drawn together without
replacement by the Gumbel-top-k trick (Kool et al., 2019, https://arxiv.org/abs/1903.06059), then
each gets a time from its item's season: no loop over events, and no event depends on another.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from homebody_models.interactions import Catalog, Interactions
from homebody_simulation.datasets.arrays import one_hot
from homebody_simulation.datasets.loader import YEAR_S, Dataset, Loader, PlantedTruth

_START: Final = 1_735_689_600  # 2025-01-01T00:00:00Z
_DIM: Final = 8
_ZIPF: Final = 0.8  # exponent of the long tail
_TASTE: Final = 3.0  # log-weight between an item one likes and an average one
_SPREAD: Final = 0.25  # of items around the centre of their cluster
_SEASONAL: Final = 0.3  # share of items with a time of year
_LENGTH: Final = (3.0, 0.7)  # mean and deviation of the log length: median 20
_LEAST: Final = 3  # events: one to learn from, one to validate, one to test
_BLOCK: Final = 4096  # devices drawn at a time, to bound memory


class Synthetic(Loader):
    """Devices with planted tastes; the truth they were drawn from comes along.

    Attributes:
        devices: Number of devices, at least 1.
        items: Number of items, at least 10.
        seed: Same seed and sizes, same arrays (of one numpy version).
    """

    name: ClassVar[str] = "synthetic"
    about: ClassVar[str] = "any number of devices with planted tastes, long tail and seasons"
    devices: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    items: Annotated[int, Field(ge=10, le=100_000)] = 500
    seed: Annotated[int, Field(ge=0)] = 0

    def load(self, _root: Path | None = None, /) -> Dataset:
        """Draw the population; the argument is not used."""
        rng = np.random.default_rng(self.seed)
        world = _World.draw(self.items, rng)
        users = _users(world.centres, self.devices, rng)
        truth = PlantedTruth(
            user_factors=users,
            item_factors=world.factors,
            popularity=world.popularity,
            season_phase=world.phase,
            season_strength=world.strength,
            start=_START,
        )
        lengths = _lengths(self.devices, self.items, rng)
        items = _choices(truth, lengths, rng)
        items, times = _in_time(truth, items, lengths, rng)
        interactions = Interactions(
            ptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            items=items,
            times=times,
            values=world.prices[items],
            repeats=False,
            catalog=world.catalog(),
        )
        return Dataset(
            name=self.name,
            interactions=interactions,
            unit="simulated user",
            source=f"drawn by homebody with seed {self.seed}",
            licence="no rights reserved: no person's data",
            raw_events=len(items),
            truth=truth,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """The items of a population; ``cluster`` is of shape ``(items,)``."""

    centres: npt.NDArray[np.float64]
    cluster: npt.NDArray[np.int64]
    factors: npt.NDArray[np.float32]
    popularity: npt.NDArray[np.float32]
    phase: npt.NDArray[np.float32]
    strength: npt.NDArray[np.float32]
    prices: npt.NDArray[np.float32]

    @classmethod
    def draw(cls, items: int, rng: np.random.Generator) -> "_World":
        centres = rng.normal(size=(max(3, min(20, items // 10)), _DIM))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        cluster = rng.integers(len(centres), size=items)
        factors = centres[cluster] + _SPREAD * rng.normal(size=(items, _DIM)) / np.sqrt(_DIM)
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
    truth: PlantedTruth, lengths: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Draw each device's items without replacement, proportional to the planted weights."""
    blocks = []
    for start in range(0, len(lengths), _BLOCK):
        block = slice(start, start + _BLOCK)
        keys = truth.user_factors[block] @ truth.item_factors.T + truth.popularity
        noise = rng.standard_exponential(keys.shape, dtype=np.float32)
        keys -= np.log(np.maximum(noise, np.finfo(np.float32).tiny))  # 0 in 1 of 2**24 draws
        most = int(lengths[block].max())
        top = np.argpartition(-keys, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(keys, top, axis=1), axis=1, kind="stable")
        ranked = np.take_along_axis(top, order, axis=1)
        blocks.append(ranked[np.arange(most) < lengths[block, None]].astype(np.int32))
    return np.concatenate(blocks)


def _in_time(
    truth: PlantedTruth,
    items: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Give each event a time of its item's season and put each history in order."""
    angle = rng.vonmises(truth.season_phase[items], truth.season_strength[items])
    share = np.mod(angle / (2.0 * np.pi), 1.0)
    times = _START + np.minimum((share * YEAR_S).astype(np.int64), YEAR_S - 1)
    device = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((times, device))
    return items[order], times[order]
