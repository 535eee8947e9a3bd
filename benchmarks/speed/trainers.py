"""homebody's engines as the benchmark drives them: user vectors in and out, no item bias."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from world import BATCH, CLIP_NORM, Rates, World, negatives

from homebody_models.logistic_epoch import Epoch, local_epoch
from homebody_privacy.errors import MissingExtraError, UsageError
from homebody_privacy.lattice import Lattice

Integers = npt.NDArray[np.int64]


class NotAvailableError(Exception):
    """This machine has not what an engine needs; the text says what, in one line."""


class Trainer(Protocol):
    """Trains a cohort of the workload."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """What it is made of, for the versions."""

    @property
    def keeps_users(self) -> bool:
        """Whether the vectors are changed; else they stay as they were."""

    def train(
        self,
        world: World,
        table: npt.NDArray[np.float32],
        users: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint32],
        *,
        per_device: bool,
    ) -> tuple[Integers, Any]:
        """Train devices; return the sum of their contributions, and each if asked for.

        Args:
            world: Whose histories.
            table: Shape ``(items, dim)``; not changed.
            users: Shape ``(devices, dim)``; the cohort's rows are changed.
            rows: The cohort.
            keys: What each device's draws come from.
            per_device: Whether each contribution is wanted, int64 of shape ``(n, items * dim)``.
        """


@dataclass(frozen=True, slots=True)
class Reference:
    """One device after another, in float64 numpy: what every kernel is tested against."""

    rates: Rates
    keeps_users: bool = True
    libraries: tuple[str, ...] = ()

    def train(
        self,
        world: World,
        table: npt.NDArray[np.float32],
        users: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint32],
        *,
        per_device: bool,
    ) -> tuple[Integers, Any]:
        """Train devices; see ``Trainer``."""
        lattice = Lattice(CLIP_NORM)
        epoch = Epoch(batch=BATCH, rows_rate=self.rates.rows, user_rate=self.rates.user)
        total, each = np.zeros(table.size, np.int64), []
        update = np.zeros(table.shape)
        for row, key in zip(rows.tolist(), keys.tolist(), strict=True):
            history = world.history(row)
            drawn = negatives(key, len(history))
            change = local_epoch(table, None, users[row], history, drawn, epoch)
            update[change.items] = change.rows
            own = lattice.contribution(update.ravel())
            update[change.items] = 0.0
            users[row] = change.user
            total += own
            if per_device:
                each.append(own.astype(np.int64))
        return total, each


def trainer_of(name: str, rates: Rates, threads: int) -> Trainer:
    """Return what trains in a system of the table.

    Raises:
        NotAvailableError: If this machine cannot.
    """
    match name:
        case "reference":
            return Reference(rates)
        case "torch":
            from torch_trainer import TorchTrainer  # noqa: PLC0415 - seconds

            return TorchTrainer(rates, threads)
        case "numba" | "numba-2":
            from numba_trainer import NumbaTrainer  # noqa: PLC0415 - seconds

            return NumbaTrainer(rates, threads)
        case "triton":
            return _triton(rates)
        case _:
            raise NotAvailableError("not wired up")


def _triton(rates: Rates) -> Trainer:
    from triton_trainer import TritonTrainer  # noqa: PLC0415 - seconds

    try:
        return TritonTrainer(rates)
    except (MissingExtraError, UsageError) as error:
        raise NotAvailableError("no CUDA device") from error
