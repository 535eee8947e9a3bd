"""The record level: DP-SGD on the device, by Opacus' ``PrivacyEngine`` with ghost clipping.

A second layer under the user level, reported apart and never added to it. A record is one event of
one device. For one event to touch one example only, the history is cut into disjoint blocks: the
last event of a block is the target, those before it are the input. Adjacency is zero-out of one
record: how many blocks a device has is no secret of this layer.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, Sampler, TensorDataset

from homebody_client.ghost import (
    CHUNK,
    GhostLatticeOptimizer,
    GhostLoss,
    GhostModule,
    TwoTowerModule,
    record_clip_norm,
)
from homebody_client.host import Host
from homebody_client.record_state import RecordCeiling, RecordLedger, RecordState, RecordSteps
from homebody_models.two_tower import TwoTower
from homebody_privacy.errors import DependencyError, PolicyViolationError
from homebody_privacy.lattice import RECORD_BITS, Lattice
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.protection import RecordLevel
from homebody_privacy.stream import NoiseStream, derive_key, fresh_key

BLOCK = 8
"""Events of one example: seven as input, the eighth as target."""

_LEARNING_RATE = 1.0
_WORDS = 2**64

Blocks = npt.NDArray[np.int64]


def effective_rate(sampling_rate: float) -> float:
    """Return the rate records are drawn at: the least 1/n that is not below ``sampling_rate``.

    Opacus knows a rate only as one over a number of batches.

    Examples:
        >>> effective_rate(0.3)
        0.3333333333333333
    """
    return 1.0 / max(1, int(1.0 / sampling_rate + 1e-9))


class _CoinSampler(Sampler[list[int]]):
    """Draws each record with the same probability, by a CSPRNG coin; Poisson sampling."""

    def __init__(
        self, records: int, *, sampling_rate: float, steps: int, coins: NoiseStream
    ) -> None:
        self._records = records
        self._rate = sampling_rate
        self._steps = steps
        self._coins = coins

    def __len__(self) -> int:
        return round(1.0 / self._rate)  # Opacus takes one over this for the rate

    def __iter__(self) -> Iterator[list[int]]:
        # Rounded down and compared strictly: no record is drawn with more than the accounted rate.
        least = int(self._rate * _WORDS) - 1
        for _ in range(self._steps):
            yield np.flatnonzero(self._coins.words(self._records) <= np.uint64(least)).tolist()


class _Engine(PrivacyEngine):  # type: ignore[misc]  # opacus ships no types
    """Opacus' engine with our ghost clipping, our lattice optimizer and our coins."""

    def __init__(self, lattice: Lattice, noise_key: bytes, spent: RecordState) -> None:
        with warnings.catch_warnings():
            # It speaks of torch's generators, which draw nothing here.
            warnings.filterwarnings("ignore", "Secure RNG turned off")
            super().__init__(accountant="prv")
        self.accountant.load_state_dict(spent.state_dict())
        self._lattice = lattice
        self._stream = NoiseStream(noise_key)

    def _prepare_model(self, module: TwoTowerModule, **_: object) -> GhostModule:
        self.validate(module=module, optimizer=None, data_loader=None)
        size = sum(p.numel() for p in module.parameters())
        return GhostModule(module, max_grad_norm=record_clip_norm(self._lattice, size))

    def _prepare_optimizer(
        self,
        *,
        optimizer: torch.optim.Optimizer,
        noise_multiplier: float,
        expected_batch_size: int,
        **_: object,
    ) -> GhostLatticeOptimizer:
        return GhostLatticeOptimizer(
            optimizer,
            lattice=self._lattice,
            noise=lambda dim: rounded_gaussian(
                dim, noise_multiplier * self._lattice.bound, self._stream
            ),
            noise_multiplier=noise_multiplier,
            expected_batch_size=max(1, expected_batch_size),
        )

    def _prepare_data_loader(
        self, data_loader: DataLoader[tuple[torch.Tensor, ...]], **_: object
    ) -> DataLoader[tuple[torch.Tensor, ...]]:
        self.dataset = data_loader.dataset
        return data_loader

    def _prepare_criterion(
        self,
        *,
        module: GhostModule,
        optimizer: GhostLatticeOptimizer,
        criterion: torch.nn.Module,
        **_: object,
    ) -> GhostLoss:
        return GhostLoss(module, optimizer, criterion)


def examples(
    history: npt.NDArray[np.integer], model: TwoTower
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return inputs ``(records, items)`` and targets ``(records,)`` of a device. Secret."""
    cut = blocks(history)
    x = np.zeros((len(cut), model.n_items))
    weights = model.history_decay ** np.arange(BLOCK - 2, -1, -1, dtype=np.float64)
    weights /= weights.sum()
    np.add.at(x, (np.arange(len(cut))[:, None], cut[:, :-1]), weights)
    return x, cut[:, -1]


def blocks(history: npt.NDArray[np.integer]) -> Blocks:
    """Return the records of a device, of shape ``(records, BLOCK)``, the oldest first. Secret."""
    records = len(history) // BLOCK
    return np.asarray(history[: records * BLOCK], np.int64).reshape(records, BLOCK)


def local_update(
    host: Host,
    history: npt.NDArray[np.integer],
    parameters: npt.NDArray[np.float32],
    *,
    number: int,
    device: int,
    ledger: RecordLedger | None = None,
) -> npt.NDArray[np.float64]:
    """Train on the device under record-level DP and return local minus global. Secret.

    Args:
        host: The node, its model and config.
        history: Item indices, oldest first.
        parameters: Broadcast model, flat.
        number: Round, from 1.
        device: Device number.
        ledger: What the device has spent so far; the round's steps are on disk before any is
            made. None charges nowhere: for a laboratory, whose report accounts by the plan.

    Returns:
        float64 of shape ``(size,)``; zeros where the device has no complete block, which trains
        nothing and is charged nothing.

    Raises:
        PolicyViolationError: If the model has no record level, or the config sets a ceiling and
            there is no ledger to hold it.
        BudgetExhaustedError: If the ledger's ceiling or the config's would be passed; nothing
            was trained.
        IntegrityError: If the ledger is missing, damaged or older than it was.
        DependencyError: If Opacus made other steps than were charged.
    """
    level = host.config.dp.record
    if level is None or not isinstance(host.model, TwoTower):
        raise PolicyViolationError(
            "dp.record needs the two-tower model", fix="set dp.record.enabled = false"
        )
    records = blocks(history)
    if len(records) == 0:
        return np.zeros(parameters.shape, np.float64)
    key = host.record_key
    secret = fresh_key() if key is None else derive_key(key, "record", number, device)
    steps = RecordSteps(
        noise_multiplier=level.noise_multiplier,
        sampling_rate=effective_rate(level.sampling_rate),
        steps=level.steps,
        parameters=len(parameters),
    )
    spent = _charged(ledger, steps, level)
    tensors = host.model.layout.views(parameters)
    module = TwoTowerModule(tensors, host.model.features, host.model.repeat)
    lattice = Lattice(clip_norm=level.max_grad_norm, bits=RECORD_BITS)
    _train(module, records, host.model, lattice, spent=spent, steps=steps, key=secret)
    local = [module.get_parameter(name).detach().numpy().reshape(-1) for name in tensors]
    return np.concatenate(local) - parameters


def _charged(ledger: RecordLedger | None, steps: RecordSteps, level: RecordLevel) -> RecordState:
    """Charge the steps and return what was spent before them."""
    limit = level.epsilon_max
    if ledger is not None:
        ceiling = None if limit is None else RecordCeiling(epsilon=limit, delta=level.delta)
        return ledger.charge(steps, ceiling=ceiling)
    if limit is not None:
        raise PolicyViolationError(
            "dp.record.epsilon_max needs a device that counts",
            fix="give the device a record-level ledger, or remove epsilon_max",
        )
    return RecordState()


def _train(
    module: TwoTowerModule,
    records: Blocks,
    model: TwoTower,
    lattice: Lattice,
    *,
    spent: RecordState,
    steps: RecordSteps,
    key: bytes,
) -> None:
    """Make the steps that were charged on top of ``spent``, in place."""
    loader = DataLoader(
        TensorDataset(torch.from_numpy(records)),
        batch_sampler=_CoinSampler(
            len(records),
            sampling_rate=steps.sampling_rate,
            steps=steps.steps,
            coins=NoiseStream(derive_key(key, "coins")),
        ),
        collate_fn=_stack,
    )
    engine = _Engine(lattice, derive_key(key, "noise"), spent)
    private, optimizer, loss, batches = engine.make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=_LEARNING_RATE),
        criterion=torch.nn.CrossEntropyLoss(),
        data_loader=loader,
        noise_multiplier=steps.noise_multiplier,
        max_grad_norm=lattice.clip_norm,
        grad_sample_mode="ghost",
    )
    for drawn in batches:
        # An empty draw is a step like any other: noise alone.
        for start in range(0, len(drawn), CHUNK):
            x, y = examples(drawn[start : start + CHUNK].reshape(-1), model)
            loss(private(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()
    if engine.accountant.state_dict() != spent.after(steps).state_dict():
        raise DependencyError("Opacus' accountant counted other steps than were charged")


def _stack(rows: list[tuple[Any, ...]]) -> Blocks:
    return np.array([block.numpy() for (block,) in rows], np.int64).reshape(len(rows), BLOCK)
