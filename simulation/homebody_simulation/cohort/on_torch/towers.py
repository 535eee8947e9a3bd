"""The losses of ``TwoTower`` and ``CoreTower`` in torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws
from homebody_models.history import HistoryWindow
from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.on_torch.protocol import Arrays, Tensors


@dataclass(frozen=True, slots=True)
class TwoTowerLoss:
    """Cross entropy of some next events over the whole catalog; see ``TorchModel``.

    Attributes:
        model: Its options.
    """

    model: TwoTower

    def torch_size(self, events: int) -> int:
        """Return the positions predicted."""
        return min(max(events - 1, 0), self.model.cuts)

    def torch_floats(self, size: int) -> int:
        """Return the numbers of scores, of their softmax and gradient, and of the table."""
        table = (1 + self.model.content) * self.model.n_items * self.model.dim
        return 5 * size * self.model.n_items + table

    def torch_examples(
        self,
        parameters: npt.NDArray[np.float32],
        histories: Sequence[npt.NDArray[np.integer]],
        draws: Sequence[Draws],
        size: int,
    ) -> Arrays:
        """Return windows and the events after them."""
        del parameters
        positions = [
            own.subset(len(history) - 1, size) + 1
            for history, own in zip(histories, draws, strict=True)
        ]
        window = HistoryWindow(self.model.history_max, self.model.history_decay)
        return _windows(window, histories, positions)

    def torch_loss(self, parameters: Tensors, example: Tensors) -> Tensor:
        """Return the mean cross entropy of one device."""
        table = parameters["V"]
        if self.model.content:
            features = torch.as_tensor(self.model.features, dtype=table.dtype, device=table.device)
            table = table + features @ parameters["W"]
        scores = _users(table, example) @ table.T + parameters["b"]
        return _cross_entropy(_repeated(scores, example, self.model.repeat), example)


@dataclass(frozen=True, slots=True)
class CoreTowerLoss:
    """The same by the core alone, sharpened, what was chosen before left out; see ``TorchModel``.

    Attributes:
        model: Its options.
        place: int64 of shape ``(dim, dim)``: where in the packed core each entry stands.
        scale: What it is multiplied by, of the same shape.
    """

    model: CoreTower
    place: Tensor = field(init=False, repr=False)
    scale: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the packed core out."""
        dim = self.model.dim
        rows, columns = torch.triu_indices(dim, dim)
        place = torch.zeros((dim, dim), dtype=torch.int64)
        place[rows, columns] = place[columns, rows] = torch.arange(len(rows))
        scale = torch.full((dim, dim), 0.5, dtype=torch.float64).sqrt().fill_diagonal_(1.0)
        object.__setattr__(self, "place", place)
        object.__setattr__(self, "scale", scale)

    def torch_size(self, events: int) -> int:
        """Return the positions predicted."""
        return min(max(events - 1, 0), self.model.cuts)

    def torch_floats(self, size: int) -> int:
        """Return the numbers of scores, of their softmax and gradient, and of what is hidden."""
        return 7 * size * self.model.n_items

    def torch_examples(
        self,
        parameters: npt.NDArray[np.float32],
        histories: Sequence[npt.NDArray[np.integer]],
        draws: Sequence[Draws],
        size: int,
    ) -> Arrays:
        """Return windows and the events after them, and what is left out of each softmax."""
        del parameters, draws
        positions = [np.arange(len(history) - size, len(history)) for history in histories]
        window = HistoryWindow(self.model.history_max, self.model.history_decay)
        arrays = dict(_windows(window, histories, positions))
        hidden = np.zeros((len(histories), size, self.model.n_items), np.bool_)
        if self.model.hidden:
            for row, (history, own) in enumerate(zip(histories, positions, strict=True)):
                for cut, position in enumerate(own):
                    hidden[row, cut, history[:position]] = True
                    hidden[row, cut, history[position]] = False
        return {**arrays, "hidden": hidden}

    def torch_loss(self, parameters: Tensors, example: Tensors) -> Tensor:
        """Return the mean cross entropy of one device."""
        table, packed = parameters["V"], parameters["M"]
        core = packed[self.place.to(packed.device)] * self.scale.to(packed)
        scores = _users(table, example) @ core @ table.T + parameters["b"]
        scores = self.model.sharpness * _repeated(scores, example, self.model.repeat)
        return _cross_entropy(scores.masked_fill(example["hidden"], -torch.inf), example)


def _windows(
    window: HistoryWindow,
    histories: Sequence[npt.NDArray[np.integer]],
    positions: Sequence[npt.NDArray[np.int64]],
) -> Arrays:
    """Return the windows before positions, ``(n, cuts, slots)``, and what comes there."""
    cuts = [history[:cut] for history, own in zip(histories, positions, strict=True) for cut in own]
    items, shares = window.shares(cuts)
    shape = (len(histories), -1, items.shape[1])
    targets = [history[own] for history, own in zip(histories, positions, strict=True)]
    return {
        "items": items.reshape(shape),
        "shares": shares.reshape(shape),
        "targets": np.array(targets, np.int64),
    }


def _users(table: Tensor, example: Tensors) -> Tensor:
    """Return user vectors of shape ``(cuts, dim)``."""
    return (example["shares"][..., None] * table[example["items"]]).sum(dim=-2)


def _repeated(scores: Tensor, example: Tensors, repeat: float) -> Tensor:
    """Add an item's share of the weights to its own score."""
    if not repeat:
        return scores
    shares = torch.zeros_like(scores).scatter_add(1, example["items"], example["shares"])
    return scores + repeat * shares


def _cross_entropy(scores: Tensor, example: Tensors) -> Tensor:
    """Return the mean over the cuts of a device."""
    own = scores.gather(1, example["targets"][:, None])[:, 0]
    return (torch.logsumexp(scores, dim=1) - own).mean()
