"""The torch path on the workload: the pass without its bias, on the devices' own vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from world import BATCH, CLIP_NORM, DIM, ITEMS, NEGATIVES, Rates, World

from homebody_models.draws import Draws
from homebody_models.logistic_epoch import Epoch, local_epoch
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.recommender import Layout, LocalGradient
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work
from homebody_simulation.cohort.on_torch.factorizations import LogisticPass
from homebody_simulation.cohort.on_torch.kernel import TorchKernel

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _OwnVectors:
    """The workload as the torch path takes a model; a device is found by the key of its draws.

    Attributes:
        rates: Of the pass.
        users: User vector of each key.
    """

    rates: Rates
    users: dict[int, npt.NDArray[np.float32]] = field(repr=False)

    @property
    def layout(self) -> Layout:
        """The table alone."""
        return Layout({"Q": (ITEMS, DIM)})

    @property
    def _pass(self) -> LogisticPass:
        rates = {"rows_rate": self.rates.rows, "user_rate": self.rates.user}
        shape = {"dim": DIM, "batch": BATCH, "negatives": NEGATIVES}
        return LogisticPass(LogisticFactorization(ITEMS, **shape, **rates))

    def local_gradient(
        self,
        parameters: npt.NDArray[np.float32],
        history: npt.NDArray[np.integer],
        draws: Draws,
    ) -> LocalGradient:
        """Return what one device's pass changes, negated."""
        table = parameters.reshape(ITEMS, DIM)
        drawn = draws.items(ITEMS, NEGATIVES * len(history)).reshape(-1, NEGATIVES)
        epoch = Epoch(batch=BATCH, rows_rate=self.rates.rows, user_rate=self.rates.user)
        change = local_epoch(table, None, self.users[draws.key], history, drawn, epoch)
        gradient = np.zeros((ITEMS, DIM))
        gradient[change.items] = -change.rows
        return LocalGradient(gradient.ravel(), change.loss, len(history))

    def torch_size(self, events: int) -> int:
        """Return how far a history is padded."""
        return self._pass.torch_size(events)

    def torch_floats(self, size: int) -> int:
        """Return the numbers one device needs."""
        return self._pass.torch_floats(size)

    def torch_examples(
        self,
        parameters: npt.NDArray[np.float32],
        histories: Sequence[npt.NDArray[np.integer]],
        draws: Sequence[Draws],
        size: int,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return what devices train on, with their own vectors."""
        biased = np.concatenate((parameters, np.zeros(ITEMS, np.float32)))
        found = self._pass.torch_examples(biased, histories, draws, size)
        return {**found, "user": np.array([self.users[own.key] for own in draws], np.float64)}

    def torch_gradient(self, parameters: Tensors, example: Tensors) -> Tensors:
        """Return minus the change of the table of one device, step by step."""
        items, user = example["items"], example["user"]
        start = parameters["Q"][items]
        rows = start
        wanted = torch.zeros((BATCH, 1 + NEGATIVES), dtype=user.dtype)
        wanted[:, 0] = 1.0
        wanted = wanted.flatten()
        for own, weight in zip(example["pairs"], example["weights"], strict=True):
            met = rows[own]
            slope = (torch.sigmoid(met @ user) - wanted) * weight
            step = torch.zeros_like(rows[:, 0]).index_add(0, own, self.rates.rows * slope)
            rows = rows - step[:, None] * user
            user = user - self.rates.user * (slope @ met)
        table = torch.zeros_like(parameters["Q"])
        return {"Q": table.index_add(0, items, start - rows)}


@dataclass(frozen=True, slots=True)
class TorchTrainer:
    """The general path: ``vmap`` over devices of one padded size. It brings no vectors back."""

    rates: Rates
    threads: int
    keeps_users: bool = False
    libraries: tuple[str, ...] = ("torch",)

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
        own = dict(zip(keys.tolist(), users[rows], strict=True))
        model = _OwnVectors(self.rates, own)
        work = Work(
            ptr=world.ptr,
            items=world.items,
            rows=rows,
            keys=keys,
            lattice=Lattice(CLIP_NORM),
            threads=self.threads,
            per_device=per_device,
        )
        sums = TorchKernel(model=model, rule=model).run(table.ravel(), work)
        return sums.sum, sums.each
