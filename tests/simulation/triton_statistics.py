"""Ragged populations, and what Triton's interpreter counts of them; see ``triton_world``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from homebody_client.statistic import Pairs, Statistic
from homebody_models.statistics.contribution import EVENTS, popularity_statistic
from homebody_models.statistics.space import Space
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Counter, Work

ITEMS: Final = 12
SPACE: Final = Space.of(np.arange(ITEMS, 0, -1).astype(np.float32), 9)  # three are outside the head

Histories = Sequence[Sequence[int]]
Integers = npt.NDArray[np.int64]

EDGES: Final[Histories] = [
    *([], [3], [11], [0, 1], [5, 5], [3, 11, 3]),  # nothing, one, outside the head, two, one twice
    *(list(range(ITEMS)), list(range(ITEMS)) * 30),  # every item, and again
    *([5] * 300, [1, 2] * 150, [0, *[11] * 3000, 1]),  # further apart than any float reaches
    *(
        [0, *[1] * (EVENTS - 1)],
        [0, *[1] * EVENTS],
    ),  # the oldest that counts, and one that does not
]


@dataclass(frozen=True, slots=True)
class Asked:
    """A population, and the statistics that are wanted of it.

    Attributes:
        histories: Of each device.
        window: Of the pairs.
        bits: Of the lattice.
        catalog: Items of the catalog; the head is all of it where it is not ``ITEMS``.
        shards: In how many parts it is counted.
    """

    histories: Histories
    window: float
    bits: int
    catalog: int = ITEMS
    shards: int = 1

    def __post_init__(self) -> None:
        """Refuse what is not in the catalog."""
        if max((max(one, default=0) for one in self.histories), default=0) >= self.catalog:
            raise ValueError(f"items must be below {self.catalog}")

    @property
    def space(self) -> Space:
        """Where the pairs lie."""
        if self.catalog == ITEMS:
            return SPACE
        return Space.of(np.ones(self.catalog, np.float32), self.catalog)

    def work(self, rows: Integers) -> Work:
        """Return the work of some devices."""
        return Work(
            ptr=np.cumsum([0, *map(len, self.histories)]).astype(np.int64),
            items=np.array([item for one in self.histories for item in one], np.int32),
            rows=rows,
            keys=np.zeros(len(rows), np.uint32),
            lattice=Lattice(1.0, self.bits),
        )

    def alone(self) -> dict[str, Integers]:
        """Return the sums of what the code of a device makes, one after another."""
        lattice, space = Lattice(1.0, self.bits), self.space
        popularity = Statistic(length=self.catalog, lattice=lattice, of=popularity_statistic)
        pairs = Statistic(
            length=space.length, lattice=lattice, of=Pairs(space=space, window=self.window)
        )
        histories = [np.array(one, np.int64) for one in self.histories]
        return {"popularity": popularity.total(histories), "pairs": pairs.total(histories)}


def populations(case: str) -> list[Asked]:
    """Return what is counted every day, or in a long case.

    The edges, histories of few items, and of many, with repeats and without.
    """
    rng = np.random.default_rng(11)
    drawn = [rng.integers(0, ITEMS, n).tolist() for n in rng.integers(0, 40, 9)]
    if case.endswith(":long"):
        wide = [rng.permutation(400)[:n].tolist() for n in (2, 33, 64, 257, 400)]
        often = [rng.integers(0, 400, n).tolist() for n in (65, 300)]
        edges = [Asked(EDGES, window, 20, shards=3) for window in (1.0, 0.8, 0.5, 1e-3)]
        return [*edges, Asked([*wide, *often], 0.9, 20, 400, 2)]
    wide = [rng.permutation(70)[:n].tolist() for n in (33, 64)]
    often = [rng.integers(0, 70, 65).tolist()]
    return [
        Asked(EDGES, 0.5, 16),
        Asked(drawn, 1.0, 18, shards=3),
        Asked([*wide, *often], 0.9, 20, 70),
        Asked([], 1.0, 16),
    ]


def counted(counter: Counter, asked: Asked, rows: Integers) -> dict[str, Integers]:
    """Return what Triton makes of some devices of a population."""
    work = asked.work(rows)
    return {
        "popularity": counter.popularity(work, asked.catalog),
        "pairs": counter.pairs(work, asked.space, asked.window),
    }


def counter_here() -> Counter:
    """Return what counts where Triton interprets."""
    # Triton is loaded here, in a child alone.
    from homebody_models.popularity import Popularity  # noqa: PLC0415
    from homebody_simulation.cohort.on_triton.kernels import (  # noqa: PLC0415
        counter_beside,
        kernel_of,
    )

    kernel = kernel_of(Popularity(ITEMS))
    assert kernel is not None
    return counter_beside(kernel)


def interpreted(case: str) -> Iterator[tuple[str, Integers]]:
    """Return the sums of the populations of a case: of shards, each in an order of its own."""
    counter = counter_here()
    for number, asked in enumerate(populations(case)):
        _check_refusals(counter, asked)
        turned = np.random.default_rng(number).permutation(len(asked.histories))
        shards = [
            counted(counter, asked, turned[start :: asked.shards]) for start in range(asked.shards)
        ]
        for what in shards[0]:
            yield f"{number}-{what}", np.sum([one[what] for one in shards], axis=0)


def _check_refusals(counter: Counter, asked: Asked) -> None:
    """Ask for devices that are not there: a program would look where it is told."""
    for rows in ([-1], [0, len(asked.histories)]):
        with pytest.raises(ValueError, match="rows must be from 0"):
            counter.popularity(asked.work(np.array(rows)), asked.catalog)
        with pytest.raises(ValueError, match="rows must be from 0"):
            counter.pairs(asked.work(np.array(rows)), asked.space, asked.window)
