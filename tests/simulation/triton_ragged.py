"""Populations drawn by hypothesis, in a process of its own where Triton interprets.

``python triton_ragged.py WHAT EXAMPLES``: holds so many populations against the code of a device
and against numba; WHAT is ``statistics`` or ``models``.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from triton_statistics import (  # type: ignore[import-not-found]  # beside it
    ITEMS,
    SPACE,
    Asked,
    counted,
    counter_here,
)

from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws, device_keys
from homebody_models.popularity import Popularity
from homebody_models.statistics.contribution import EVENTS
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work

FEW: Final = 4
"""Coordinates of a device that may be one lattice step off: float32 sums of another order."""

RAGGED: Final = st.lists(
    st.one_of(
        st.lists(st.integers(0, ITEMS - 1), max_size=20),
        st.permutations(range(ITEMS)),
        st.lists(st.sampled_from([2, 7]), max_size=9),
        st.integers(EVENTS - 2, EVENTS + 60).map(
            lambda n: [7 * n * n * event % ITEMS for event in range(n)]
        ),
    ),
    min_size=1,
    max_size=7,
)
MODELS: Final = (
    Popularity(ITEMS),
    CoreTower(ITEMS, dim=5, cuts=3, history_max=7),
    CoreTower(ITEMS, dim=17, cuts=9, hidden=False, repeat=2.0, sharpness=1.0),
    CoreTower(ITEMS, dim=3, cuts=1, history_max=1, history_decay=1.0),
)


def statistics() -> Callable[..., None]:
    """Return what compares the statistics of a population, integer for integer."""
    from homebody_simulation.cohort.on_numba.counts import popularity_total  # noqa: PLC0415
    from homebody_simulation.cohort.statistics_pairs import pairs_total  # noqa: PLC0415

    counter = counter_here()

    @given(RAGGED, st.sampled_from([1.0, 0.8, 1e-3]), st.integers(16, 20))
    def compare(histories: Sequence[Sequence[int]], window: float, bits: int) -> None:
        asked = Asked(histories, window, bits)
        rows = np.arange(len(histories))
        work, own, alone = asked.work(rows), counted(counter, asked, rows), asked.alone()
        for what in alone:
            assert own[what].tolist() == alone[what].tolist(), what
        ptr, items, lattice = work.ptr, work.items, work.lattice
        theirs = popularity_total(ptr, items, rows, length=ITEMS, lattice=lattice, threads=1)
        assert own["popularity"].tolist() == theirs.tolist()
        theirs = pairs_total(
            ptr, items, rows, space=SPACE, window=window, lattice=lattice, threads=1
        )
        assert own["pairs"].tolist() == theirs.tolist()

    return compare


def models() -> Callable[..., None]:
    """Return what compares the models of this file, device by device."""
    from homebody_simulation.cohort.on_triton.kernels import kernel_of  # noqa: PLC0415

    kernels = [(model, kernel_of(model)) for model in MODELS]

    @given(RAGGED, st.sampled_from(range(len(MODELS))), st.sampled_from([0.05, 10.0]))
    def compare(histories: Sequence[Sequence[int]], number: int, clip_norm: float) -> None:
        model, kernel = kernels[number]
        assert kernel is not None
        parameters = model.init(np.random.default_rng(number)).astype(np.float32)
        rows = np.arange(len(histories))
        work = Work(
            ptr=np.cumsum([0, *map(len, histories)]).astype(np.int64),
            items=np.array([item for history in histories for item in history], np.int32),
            rows=rows,
            keys=device_keys(7, rows),
            lattice=Lattice(clip_norm),
            per_device=True,
        )
        sums = kernel.run(parameters, work)
        assert sums.each is not None
        assert sums.sum.tolist() == sums.each.sum(axis=0).tolist()
        for history, key, own in zip(histories, work.keys, sums.each, strict=True):
            draws = Draws(int(key))
            gradient = model.local_gradient(parameters, np.array(history, np.int64), draws).vector
            apart = np.abs(own - work.lattice.contribution(-gradient))
            few = FEW if isinstance(model, CoreTower) else 0
            assert apart.max() <= min(few, 1)
            assert np.count_nonzero(apart) <= few

    return compare


def _main(what: str, examples: str) -> None:
    compare = {"statistics": statistics, "models": models}[what]()
    given_so_many = settings(
        max_examples=int(examples), deadline=None, suppress_health_check=list(HealthCheck)
    )
    given_so_many(compare)()


if __name__ == "__main__":
    _main(*sys.argv[1:])
