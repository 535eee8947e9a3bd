"""The numba kernel on the workload: user vectors in and out, no item bias."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from world import BATCH, CLIP_NORM, DIM, ITEMS, NEGATIVES, Rates, World

from homebody_models.logistic_epoch import Epoch
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work
from homebody_simulation.cohort.on_numba.factorization import FactorizationCohorts


@dataclass(slots=True)
class NumbaTrainer:
    """Compiled code, and threads around it."""

    rates: Rates
    threads: int
    keeps_users: bool = True
    libraries: tuple[str, ...] = ("numba",)
    _cohorts: FactorizationCohorts = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Take the workload's shape."""
        self._cohorts = FactorizationCohorts(
            n_items=ITEMS,
            dim=DIM,
            epoch=Epoch(batch=BATCH, rows_rate=self.rates.rows, user_rate=self.rates.user),
            negatives=NEGATIVES,
            with_bias=False,
        )

    def train(
        self,
        world: World,
        table: npt.NDArray[np.float32],
        users: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint32],
        *,
        per_device: bool,
    ) -> tuple[npt.NDArray[np.int64], Any]:
        """Train devices; see ``Trainer``."""
        work = Work(
            ptr=world.ptr,
            items=world.items,
            rows=rows,
            keys=keys,
            lattice=Lattice(CLIP_NORM),
            threads=self.threads,
            per_device=per_device,
        )
        own = users[rows]
        sums, left = self._cohorts.train(table, None, own, work)
        if len(left):
            raise RuntimeError("a device was left out: it is not finite, or passed its bound")
        users[rows] = own
        return sums.sum, sums.each
