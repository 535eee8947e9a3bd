"""The Triton kernel on the workload; histories stay on the GPU, the table and vectors travel."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from world import BATCH, CLIP_NORM, DIM, ITEMS, NEGATIVES, Rates, World

from homebody_models.logistic_factorization import LogisticFactorization
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work
from homebody_simulation.cohort.on_triton.factorization import TritonFactorization
from homebody_simulation.cohort.on_triton.loading import Loader
from homebody_simulation.cohort.on_triton.processor import processor


@dataclass(slots=True)
class TritonTrainer:
    """One launch a cohort."""

    rates: Rates
    keeps_users: bool = True
    libraries: tuple[str, ...] = ("torch", "triton")
    _kernel: TritonFactorization = field(init=False, repr=False)
    _loader: Loader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the GPU."""
        rates = {"rows_rate": self.rates.rows, "user_rate": self.rates.user}
        shape = {"dim": DIM, "batch": BATCH, "negatives": NEGATIVES}
        self._kernel = TritonFactorization(LogisticFactorization(ITEMS, **shape, **rates))
        self._loader = Loader(processor())

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
            per_device=per_device,
        )
        loaded = self._loader.load(work)
        own = rows[loaded.order.cpu().numpy()]
        vectors = torch.from_numpy(users[own]).to(self._loader.where)
        there = torch.from_numpy(np.array(table)).to(self._loader.where)
        sums, left = self._kernel.train(loaded, there, None, vectors, work)
        if len(left):
            raise RuntimeError("a device was left out: it is not finite, or passed its bound")
        users[own] = vectors.cpu().numpy()
        return sums.sum, sums.each
