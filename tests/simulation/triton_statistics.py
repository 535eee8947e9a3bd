"""Ragged populations, and what Triton's interpreter counts of them; see ``triton_world``.

``python triton_statistics.py EXAMPLES`` holds so many more populations, drawn by hypothesis,
against the code of a device and against numba.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        turned = np.random.default_rng(number).permutation(len(asked.histories))
        shards = [
            counted(counter, asked, turned[start :: asked.shards]) for start in range(asked.shards)
        ]
        for what in shards[0]:
            yield f"{number}-{what}", np.sum([one[what] for one in shards], axis=0)


EVENT: Final = st.integers(0, ITEMS - 1)
RAGGED: Final = st.lists(
    st.one_of(
        st.lists(EVENT, max_size=20),
        st.permutations(range(ITEMS)),
        st.lists(st.sampled_from([2, 7]), max_size=9),
        st.integers(EVENTS - 2, EVENTS + 60).map(
            lambda n: [7 * n * n * event % ITEMS for event in range(n)]
        ),
    ),
    min_size=1,
    max_size=7,
)


def _main(examples: str) -> None:
    from homebody_simulation.cohort.on_numba.counts import popularity_total  # noqa: PLC0415
    from homebody_simulation.cohort.statistics_pairs import pairs_total  # noqa: PLC0415

    counter = counter_here()

    @settings(max_examples=int(examples), deadline=None, suppress_health_check=list(HealthCheck))
    @given(RAGGED, st.sampled_from([1.0, 0.8, 1e-3]), st.integers(16, 20))
    def compare(histories: Histories, window: float, bits: int) -> None:
        asked = Asked(histories, window, bits)
        rows = np.arange(len(histories))
        work, own = asked.work(rows), counted(counter, asked, rows)
        alone = asked.alone()
        for what in alone:
            assert own[what].tolist() == alone[what].tolist(), what
        ptr, items, lattice = work.ptr, work.items, work.lattice
        theirs = popularity_total(ptr, items, rows, length=ITEMS, lattice=lattice, threads=1)
        assert own["popularity"].tolist() == theirs.tolist()
        theirs = pairs_total(
            ptr, items, rows, space=SPACE, window=window, lattice=lattice, threads=1
        )
        assert own["pairs"].tolist() == theirs.tolist()

    compare()


if __name__ == "__main__":
    _main(*sys.argv[1:])
