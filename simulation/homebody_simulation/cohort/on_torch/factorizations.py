"""The losses of ``MatrixFactorization`` and ``LogisticFactorization`` in torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from homebody_models.draws import Draws
from homebody_models.history import HistoryWindow, normalised
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.ridge import Ridge
from homebody_simulation.cohort.on_torch.protocol import Arrays, Tensors

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RidgeLoss:
    """Squared loss around a user vector that is solved for and held (Danskin); see ``TorchModel``.

    Attributes:
        model: Its options.
    """

    model: MatrixFactorization

    def torch_size(self, events: int) -> int:
        """Return the events the user vector is solved from, padded to a power of two."""
        most = min(events, self.model.history_max)
        return 1 << (most - 1).bit_length() if most else 0

    def torch_floats(self, size: int) -> int:
        """Return the numbers of scores, targets and their gradients."""
        return 6 * self.model.n_items + 2 * size * self.model.dim

    def torch_examples(
        self,
        parameters: Floats,
        histories: Sequence[npt.NDArray[np.integer]],
        draws: Sequence[Draws],
        size: int,
    ) -> Arrays:
        """Return slots, user vectors and where the bias is drawn to."""
        del draws
        model = self.model
        table = model.layout.views(np.asarray(parameters, np.float32))["Q"]
        gram = (table.T @ table).astype(np.float64)  # as the model makes it
        problem = Ridge(model.ridge, model.unseen_weight)
        window = HistoryWindow(model.history_max, model.history_decay)
        items = np.zeros((len(histories), size), np.int64)
        weights = np.zeros((len(histories), size))
        users = np.zeros((len(histories), model.dim))
        targets = np.zeros((len(histories), model.n_items))
        for row, history in enumerate(histories):
            own, decays = window.slots(history)
            items[row, : len(own)], weights[row, : len(own)] = own, decays
            users[row] = problem.user_vectors(gram, table[own], decays[None])[0]
            targets[row, own] = 1.0 / np.sqrt(len(np.unique(own)))
        return {
            "items": items,
            "weights": weights,
            "user": users,
            "target": targets,
        }

    def torch_loss(self, parameters: Tensors, example: Tensors) -> Tensor:
        """Return the loss of one device at its user vector."""
        scores, weights = parameters["Q"] @ example["user"], example["weights"]
        fit = (weights * (1.0 - scores[example["items"]]) ** 2).sum()
        fit = fit + self.model.unseen_weight * (scores**2).sum()
        return fit / weights.sum() + 0.5 * ((parameters["b"] - example["target"]) ** 2).sum()


@dataclass(frozen=True, slots=True)
class LogisticPass:
    """One pass of stochastic gradient descent over a history; see ``TorchPass``.

    A device works on the rows it meets alone. Events and batches are padded with pairs that weigh
    nothing.

    Attributes:
        model: Its options.
    """

    model: LogisticFactorization

    def torch_size(self, events: int) -> int:
        """Return the batches of the pass, padded to a power of two."""
        batches = -(-events // self.model.batch)
        return 1 << (batches - 1).bit_length() if batches else 0

    def torch_floats(self, size: int) -> int:
        """Return the numbers of the rows met, before and after a step, and of a batch."""
        pairs = self.model.batch * (1 + self.model.negatives)
        return (3 * self._most(size) + 3 * pairs) * (self.model.dim + 2)

    def torch_examples(
        self,
        parameters: Floats,
        histories: Sequence[npt.NDArray[np.integer]],
        draws: Sequence[Draws],
        size: int,
    ) -> Arrays:
        """Return the items met, which of them each pair is, its weight, and the user vector."""
        model, count = self.model, len(histories)
        table = model.layout.views(np.asarray(parameters, np.float32))["Q"]
        window = HistoryWindow(model.history_max, model.history_decay)
        each = 1 + model.negatives
        items = np.zeros((count, self._most(size)), np.int64)
        pairs = np.zeros((count, size * model.batch, each), np.int64)
        weights = np.zeros((count, size * model.batch, 1))
        users = np.zeros((count, model.dim))
        for row, (history, own) in enumerate(zip(histories, draws, strict=True)):
            n = len(history)
            drawn = own.items(model.n_items, model.negatives * n).reshape(n, model.negatives)
            met, index = np.unique(np.column_stack((history, drawn)), return_inverse=True)
            items[row, : len(met)] = met
            pairs[row, :n] = index.reshape(n, each)
            of_batch = np.arange(n) // model.batch
            weights[row, :n, 0] = 1.0 / np.bincount(of_batch)[of_batch]
            newest, decays = window.slots(history)
            users[row] = (normalised(decays) @ table[newest]).astype(np.float32)
        shape = (count, size, model.batch * each)
        return {
            "items": items,
            "pairs": pairs.reshape(shape),
            "weights": np.broadcast_to(weights, (*weights.shape[:2], each)).reshape(shape),
            "user": users,
        }

    def torch_gradient(self, parameters: Tensors, example: Tensors) -> Tensors:
        """Return minus what the pass of one device changes."""
        model, items = self.model, example["items"]
        table, bias, user = parameters["Q"], parameters["b"], example["user"]
        start, level = table[items], bias[items]
        rows, levels = start, level
        wanted = torch.zeros((model.batch, 1 + model.negatives), dtype=user.dtype)
        wanted[:, 0] = 1.0
        wanted = wanted.flatten().to(user.device)
        for own, weight in zip(example["pairs"], example["weights"], strict=True):
            met = rows[own]
            slope = (torch.sigmoid(met @ user + levels[own]) - wanted) * weight
            step = torch.zeros_like(levels).index_add(0, own, model.rows_rate * slope)
            rows = rows - step[:, None] * user
            levels = levels - step
            user = user - model.user_rate * (slope @ met)
        levels = levels + 0.0 * user.sum()  # the last step's rows need not show what is no number
        return {
            "Q": torch.zeros_like(table).index_add(0, items, start - rows),
            "b": torch.zeros_like(bias).index_add(0, items, level - levels),
        }

    def _most(self, size: int) -> int:
        """Return the most items that a device of this size can meet."""
        pairs = size * self.model.batch * (1 + self.model.negatives)
        return min(self.model.n_items, pairs)
