"""Devices with histories of any length, and what each of them would send alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from homebody_models.draws import Draws, device_keys
from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work

ITEMS: Final = 12
EDGES: Final = [[], [3], [3, 3], [0, 1], list(range(ITEMS)), [5] * 300, [1, 2] * 150]
"""No event, one, one item twice, two, all items, one 300 times, and two in turn."""

RAGGED: Final = st.lists(
    st.one_of(
        st.lists(st.integers(0, ITEMS - 1), max_size=9),
        st.permutations(range(ITEMS)),
        st.integers(60, 300).map(lambda n: [7 * n * n * event % ITEMS for event in range(n)]),
    ),
    min_size=1,
    max_size=20,
)


def work_of(histories: Sequence[Sequence[int]], lattice: Lattice, **own: bool) -> Work:
    """Return the work of all these devices in one round."""
    rows = np.arange(len(histories))
    return Work(
        ptr=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        items=np.array([item for history in histories for item in history], np.int32),
        rows=rows,
        keys=device_keys(7, rows),
        lattice=lattice,
        **own,
    )


def work_on(data: Interactions, devices: int, lattice: Lattice) -> Work:
    """Return the work of the first devices of a population."""
    rows = np.arange(devices)
    keys = device_keys(1, rows)
    return Work(ptr=data.ptr, items=data.items, rows=rows, keys=keys, lattice=lattice)


def part_of(work: Work, places: npt.NDArray[np.int64], threads: int) -> Work:
    """Return some of the devices of some work."""
    return replace(work, rows=work.rows[places], keys=work.keys[places], threads=threads)


def one_by_one(
    model: Recommender, parameters: npt.NDArray[np.float32], work: Work
) -> npt.NDArray[np.int64]:
    """Return what each device sends alone, of shape ``(n, trained_size)``."""
    each = [
        work.lattice.contribution(
            -model.local_gradient(
                parameters, work.items[work.ptr[row] : work.ptr[row + 1]], Draws(int(key))
            ).vector
        )
        for row, key in zip(work.rows, work.keys, strict=True)
    ]
    return np.array(each, np.int64)
