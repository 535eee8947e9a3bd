"""Train a cohort by automatic differentiation: for any model that says its loss in torch.

It is the general way, not the fast one: each device of a chunk has a gradient of the model's whole
length. Devices of one padded size train together, in chunks that bound the memory. All is done in
float64 unless said otherwise: how a matrix product is cut up may depend on who is in the chunk, and
moves a float64 by parts in 10**16, where truncation leaves parts in 10**12 free on the side of
numbers that are near a step by construction (``SHRINK``). So the integers do not depend on the
grouping, but for values that come within 10**-11 of a step by chance.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import grad, vmap

from homebody_models.draws import Draws
from homebody_models.recommender import Layout, Recommender
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.dealing import check_rows
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_torch.bounded import bounded
from homebody_simulation.cohort.on_torch.protocol import TorchModel, TorchPass

CHUNK_BYTES: Final = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Memory of the gradients of a chunk and of what they are made of, about; on a processor as much as
stays near it."""

_COPIES: Final = 3  # of a gradient: of each use of a tensor, and their sum in one vector

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchKernel:
    """Trains a model by ``torch.func``; see ``Kernel``.

    Attributes:
        model: What a device does alone.
        rule: The same in torch.
        dtype: Type of the gradients; the bound is applied in float64 whatever it is.
        device: Where torch computes.
    """

    model: Recommender
    rule: TorchModel | TorchPass
    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        check_rows(work.ptr, work.rows)
        layout, count = self.model.layout, len(work.rows)
        sums = Sums(
            sum=np.zeros(layout.trained_size, np.int64),
            norms=np.zeros(count),
            status=np.full(count, Status.EMPTY, np.uint8),
            each=np.zeros((count, layout.trained_size), np.int64) if work.per_device else None,
        )
        frozen, trained = self._tensors(layout, parameters)
        gradients = self._gradients(frozen, trained)
        bounds = Bounds.of(work.lattice, layout.trained_size)
        odd = [np.zeros(0, np.int64)]
        with _threads(work.threads):
            for places, size in self._chunks(work):
                made = gradients(self._examples(parameters, work, places, size))
                own = bounded(made, bounds)
                sums.sum[:] += own.units.sum(dim=0).to(torch.int64).cpu().numpy()
                sums.norms[places] = own.norms.cpu().numpy()
                sums.status[places] = Status.OK
                if sums.each is not None:
                    sums.each[places] = own.units.to(torch.int64).cpu().numpy()
                odd.append(places[own.odd.cpu().numpy()])
        add_alone(self.model, parameters, work, sums, np.concatenate(odd))
        return sums

    def _tensors(
        self, layout: Layout, parameters: npt.NDArray[np.float32]
    ) -> tuple[Tensors, Tensors]:
        """Return the tensors of the model: frozen ones, and those that are trained."""
        views = layout.views(np.asarray(parameters, np.float32))
        tensors = {
            name: torch.tensor(view, dtype=self.dtype, device=self.device)
            for name, view in views.items()
        }
        frozen = {name: tensors[name] for name in layout.frozen}
        return frozen, {name: tensors[name] for name in layout.trained_shapes}

    def _gradients(self, frozen: Tensors, trained: Tensors) -> Callable[[Tensors], Tensor]:
        """Return what makes float64 gradients of shape ``(n, trained_size)`` of examples."""
        rule = self.rule

        def loss(values: Tensors, example: Tensors) -> Tensor:
            return rule.torch_loss({**frozen, **values}, example)  # type: ignore[union-attr]  # asked below

        def steps(values: Tensors, example: Tensors) -> Tensors:
            return dict(rule.torch_gradient({**frozen, **values}, example))  # type: ignore[union-attr]  # asked below

        of_one = grad(loss) if isinstance(rule, TorchModel) else steps
        of_all = vmap(of_one, in_dims=(None, 0))

        def gradients(examples: Tensors) -> Tensor:
            made = of_all(trained, examples)
            flat = [made[name].flatten(start_dim=1) for name in trained]
            return torch.cat(flat, dim=1).to(torch.float64)

        return gradients

    def _chunks(self, work: Work) -> Iterator[tuple[npt.NDArray[np.int64], int]]:
        """Yield places of devices of one size, as many as the memory holds, and their size."""
        lengths = work.ptr[work.rows + 1] - work.ptr[work.rows]
        distinct, which = np.unique(lengths, return_inverse=True)
        sizes = np.array([self.rule.torch_size(int(n)) for n in distinct], np.int64)[which]
        for size in np.unique(sizes[sizes > 0]).tolist():
            own = _COPIES * self.model.layout.trained_size + self.rule.torch_floats(size)
            most = max(1, CHUNK_BYTES[self.device.type] // (8 * own))
            places = np.flatnonzero(sizes == size)
            for start in range(0, len(places), most):
                yield places[start : start + most], size

    def _examples(
        self,
        parameters: npt.NDArray[np.float32],
        work: Work,
        places: npt.NDArray[np.int64],
        size: int,
    ) -> Tensors:
        """Return what some devices train on."""
        rows = work.rows[places]
        histories = [
            work.items[first:last]
            for first, last in zip(work.ptr[rows], work.ptr[rows + 1], strict=True)
        ]
        draws = [Draws(key) for key in work.keys[places].tolist()]
        arrays = self.rule.torch_examples(parameters, histories, draws, size)
        return {name: self._tensor(array) for name, array in arrays.items()}

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        dtype = self.dtype if np.issubdtype(array.dtype, np.floating) else None
        return torch.tensor(array, dtype=dtype, device=self.device)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads; it has one number for the process."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
