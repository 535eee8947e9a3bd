"""The record level: DP-SGD on the device, by Opacus' ``PrivacyEngine``.

A second layer under the user level, reported apart and never added to it. A record is one event of
one device. For one event to touch one example only, the history is cut into disjoint blocks: the
last event of a block is the target, those before it are the input.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, Sampler, TensorDataset

from homebody_client.host import Host
from homebody_models.two_tower import TwoTower
from homebody_privacy.config import RecordLevel
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.lattice import RECORD_BITS, Lattice
from homebody_privacy.lattice_optimizer import LatticeDPOptimizer
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key, fresh_key

BLOCK = 8
"""Events of one example: seven as input, the eighth as target."""

_LEARNING_RATE = 1.0


def effective_rate(sampling_rate: float) -> float:
    """Return the rate records are drawn at: the least 1/n that is not below ``sampling_rate``.

    Opacus knows a rate only as one over a number of batches.

    Examples:
        >>> effective_rate(0.3)
        0.3333333333333333
    """
    return 1.0 / max(1, int(1.0 / sampling_rate + 1e-9))


class TwoTowerModule(torch.nn.Module):
    """The two-tower's shared parameters as a torch module, for autograd and Opacus.

    Args:
        tensors: Parameter tensors by name: ``V``, ``b`` and, with content, ``W``.
        features: Public content features, float32 of shape ``(items, features)``.
        repeat: What an item's share of the weights adds to its own score.
    """

    # Declared, not looked up: Opacus puts plain tensors in their place to differentiate.
    V: torch.Tensor
    W: torch.Tensor
    b: torch.Tensor

    def __init__(
        self,
        tensors: dict[str, npt.NDArray[Any]],
        features: npt.NDArray[np.float32],
        repeat: float = 0.0,
    ) -> None:
        """Copy the tensors."""
        super().__init__()
        self._content = "W" in tensors
        self._repeat = repeat
        for name, value in tensors.items():
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(value.copy())))
        # A plain attribute: Opacus refuses buffers in a layer it differentiates.
        self._features = torch.from_numpy(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of shape ``(examples, items)`` for weighted histories of the same shape."""
        table = self.V + self._features @ self.W if self._content else self.V
        return (x @ table) @ table.T + self.b + self._repeat * x


class _CoinSampler(Sampler[list[int]]):
    """Draws each record with the same probability, by a CSPRNG coin; Poisson sampling."""

    def __init__(
        self, records: int, *, sampling_rate: float, steps: int, coins: NoiseStream
    ) -> None:
        self._records = records
        self._batches = round(1.0 / sampling_rate)
        self._steps = steps
        self._coins = coins

    def __len__(self) -> int:
        return self._batches  # Opacus takes one over this for the rate

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self._steps):
            coins = self._coins.words(self._records)
            yield np.flatnonzero(coins % np.uint64(self._batches) == 0).tolist()


class _Engine(PrivacyEngine):  # type: ignore[misc]  # opacus ships no types
    """Opacus' engine with the lattice optimizer in place of its own, and our coins."""

    def __init__(self, lattice: Lattice, noise_key: bytes) -> None:
        with warnings.catch_warnings():
            # It speaks of torch's generators, which draw nothing here.
            warnings.filterwarnings("ignore", "Secure RNG turned off")
            super().__init__(accountant="prv")
        self._lattice = lattice
        self._stream = NoiseStream(noise_key)

    def _prepare_optimizer(
        self,
        *,
        optimizer: torch.optim.Optimizer,
        noise_multiplier: float,
        expected_batch_size: int,
        **_: object,
    ) -> LatticeDPOptimizer:
        return LatticeDPOptimizer(
            optimizer,
            lattice=self._lattice,
            noise=lambda dim: rounded_gaussian(
                dim, noise_multiplier * 2**RECORD_BITS, self._stream
            ),
            noise_multiplier=noise_multiplier,
            expected_batch_size=max(1, expected_batch_size),
        )

    def _prepare_data_loader(
        self, data_loader: DataLoader[tuple[torch.Tensor, ...]], **_: object
    ) -> DataLoader[tuple[torch.Tensor, ...]]:
        self.dataset = data_loader.dataset
        return data_loader


def examples(
    history: npt.NDArray[np.integer], model: TwoTower
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return inputs ``(records, items)`` and targets ``(records,)`` of a device. Secret."""
    blocks = len(history) // BLOCK
    x = np.zeros((blocks, model.n_items), np.float32)
    weights = model.history_decay ** np.arange(BLOCK - 2, -1, -1, dtype=np.float64)
    weights /= weights.sum()
    cut = np.asarray(history[: blocks * BLOCK]).reshape(blocks, BLOCK)
    for row, block in zip(x, cut, strict=True):
        np.add.at(row, block[:-1], weights)
    return x, cut[:, -1].astype(np.int64)


def local_update(
    host: Host,
    history: npt.NDArray[np.integer],
    parameters: npt.NDArray[np.float32],
    *,
    number: int,
    device: int,
) -> npt.NDArray[np.float64]:
    """Train on the device under record-level DP and return local minus global. Secret.

    Args:
        host: The node, its model and config.
        history: Item indices, oldest first.
        parameters: Broadcast model, flat.
        number: Round, from 1.
        device: Device number.

    Returns:
        float64 of shape ``(size,)``; zeros where the device has no complete block.

    Raises:
        PolicyViolationError: If the model has no record level.
    """
    level = host.config.dp.record
    if level is None or not isinstance(host.model, TwoTower):
        raise PolicyViolationError(
            "dp.record needs the two-tower model", fix="set dp.record.enabled = false"
        )
    x, y = examples(history, host.model)
    if len(y) == 0:
        return np.zeros(parameters.shape, np.float64)
    key = host.record_key
    secret = fresh_key() if key is None else derive_key(key, "record", number, device)
    tensors = host.model.layout.views(parameters)
    module = _train(
        TwoTowerModule(tensors, host.model.features, host.model.repeat), x, y, level, secret
    )
    local = np.concatenate(
        [module.get_parameter(name).detach().numpy().reshape(-1) for name in tensors]
    )
    return local.astype(np.float64) - parameters


def _train(
    module: TwoTowerModule,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    level: RecordLevel,
    key: bytes,
) -> TwoTowerModule:
    rate = effective_rate(level.sampling_rate)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(x), torch.from_numpy(y)),
        batch_sampler=_CoinSampler(
            len(y),
            sampling_rate=rate,
            steps=level.steps,
            coins=NoiseStream(derive_key(key, "coins")),
        ),
        collate_fn=_stack,
    )
    engine = _Engine(
        Lattice(clip_norm=level.max_grad_norm, bits=RECORD_BITS), derive_key(key, "noise")
    )
    private, optimizer, batches = engine.make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=_LEARNING_RATE),
        data_loader=loader,
        noise_multiplier=level.noise_multiplier,
        max_grad_norm=level.max_grad_norm,
        grad_sample_mode="functorch",
    )
    for inputs, targets in batches:
        optimizer.zero_grad()
        if len(targets):
            inputs.requires_grad_()  # torch's hooks complain of inputs without a gradient
            loss = torch.nn.functional.cross_entropy(private(inputs), targets)
            torch.autograd.backward(loss)
        else:  # an empty draw is a step like any other: noise alone
            for p in private.parameters():
                p.grad_sample = torch.zeros((0, *p.shape))
        optimizer.step()
    return module


def _stack(rows: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    if not rows:
        return torch.zeros((0, 0)), torch.zeros(0, dtype=torch.int64)
    return torch.stack([x for x, _ in rows]), torch.stack([y for _, y in rows])
