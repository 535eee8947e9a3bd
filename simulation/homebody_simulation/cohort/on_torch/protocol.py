"""How a model says its loss in torch, so that a cohort trains it without a kernel of its own.

A recommender of your own trains on ``--engine torch`` when its class also has the four methods of
``TorchModel``; nothing is registered. They say how far a history of so many events is padded, how
much memory one device takes, what devices train on, as arrays whose first axis is the device, and
the loss of ONE device, as a scalar, of its share of those arrays. The gradient is taken by the
tensors that ``layout`` does not freeze, with ``torch.func.grad`` under ``torch.func.vmap``: the
loss must be made of torch functions that both know, must not look at the value of a tensor, and
must be the one whose gradient ``local_gradient`` returns, which stays what a device on its own
runs. A model that trains by steps of its own (federated averaging) has ``torch_gradient`` in place
of ``torch_loss``: minus its change takes the place of the gradient.

Examples:
    A model that draws the bias of what a device chose upwards:

    >>> from homebody_models.popularity import Popularity
    >>> from homebody_models.recommender import LocalGradient
    >>> from homebody_privacy.lattice import Lattice
    >>> from homebody_simulation.cohort.kernel import Work
    >>> from homebody_simulation.cohort.on_torch.kernels import kernel_of
    >>> class Liked(Popularity):
    ...     def local_gradient(self, parameters, history, draws):
    ...         vector = np.zeros(self.n_items)
    ...         np.subtract.at(vector, history, 1.0 / max(len(history), 1))
    ...         return LocalGradient(vector, float(vector @ parameters), len(history))
    ...
    ...     def torch_size(self, events):
    ...         return 1 << (events - 1).bit_length() if events else 0
    ...
    ...     def torch_floats(self, size):
    ...         return 3 * size
    ...
    ...     def torch_examples(self, parameters, histories, draws, size):
    ...         items = np.zeros((len(histories), size), np.int64)
    ...         shares = np.zeros((len(histories), size))
    ...         for row, history in enumerate(histories):
    ...             items[row, : len(history)] = history
    ...             shares[row, : len(history)] = 1.0 / len(history)
    ...         return {"items": items, "shares": shares}
    ...
    ...     def torch_loss(self, parameters, example):
    ...         return -(example["shares"] * parameters["b"][example["items"]]).sum()
    >>> work = Work(
    ...     ptr=np.array([0, 3]), items=np.array([1, 2, 2], np.int32), rows=np.array([0]),
    ...     keys=np.zeros(1, np.uint32), lattice=Lattice(5.0),
    ... )
    >>> kernel_of(Liked(3)).run(np.zeros(3, np.float32), work).sum.tolist()
    [0, 4369, 8738]
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from homebody_models.draws import Draws

Arrays = Mapping[str, npt.NDArray[np.generic]]
Tensors = Mapping[str, Tensor]


class TorchExamples(Protocol):
    """What ``TorchModel`` and ``TorchPass`` have in common."""

    def torch_size(self, events: int) -> int:
        """Return how far a history is padded; 0 where there is too little to train on.

        It depends on the device alone, so that its sums do not depend on who trains beside it.
        Few sizes are better than many: devices of one size train together.
        """
        ...

    def torch_floats(self, size: int) -> int:
        """Return how many numbers one device of this size needs beside its gradient."""
        ...

    def torch_examples(
        self,
        parameters: npt.NDArray[np.float32],
        histories: Sequence[npt.NDArray[np.integer]],
        draws: Sequence[Draws],
        size: int,
    ) -> Arrays:
        """Return what devices of one size train on.

        Args:
            parameters: Broadcast model, flat. What is computed from it here is a constant.
            histories: Item indices of each device, oldest first. Secret.
            draws: The draws of each device in the round.
            size: What ``torch_size`` says of each of them.

        Returns:
            Arrays whose first axis is the device; floats become the kernel's type.
        """
        ...


@runtime_checkable
class TorchModel(TorchExamples, Protocol):
    """A model that says the loss of one device."""

    def torch_loss(self, parameters: Tensors, example: Tensors) -> Tensor:
        """Return the loss of one device, a scalar.

        Args:
            parameters: The tensors of ``layout`` by name, frozen ones too.
            example: The device's share of ``torch_examples``, without the first axis.
        """
        ...


@runtime_checkable
class TorchPass(TorchExamples, Protocol):
    """A model that says what its local steps come to."""

    def torch_gradient(self, parameters: Tensors, example: Tensors) -> Tensors:
        """Return minus the change of one device by name, for each tensor that is not frozen."""
        ...
