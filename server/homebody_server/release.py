"""Turn the cohort's integers into the next model: noise on the sum, then an optimizer step.

The step is Opacus' ``DPOptimizer`` on the lattice, one device as one sample. Adjacency is zero-out:
weights are uniform and the denominator is the expected cohort, a constant.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from homebody_privacy.lattice import Lattice
from homebody_privacy.lattice_optimizer import BLTDPOptimizer, Integers, LatticeDPOptimizer
from homebody_server.tensor_adam import TensorAdam

ServerOptimizer = Literal["tensor-adam", "adam"]
InnerOptimizer = ServerOptimizer | Literal["sgd"]


class Noise(Protocol):
    """Draws the noise of one release, in lattice steps, or finer ones where it is correlated."""

    def noise(self, dim: int) -> Integers:
        """Return ``dim`` independent integers."""
        ...


@dataclass(frozen=True, slots=True)
class Contribution:
    """Sum of the lattice integers of ``devices`` devices. Secret until noise is added.

    Of a node's reply the server bounds the sum of that node's devices. Of a secure sum it sees no
    part: the bound is that of the whole, and what one device added is bounded by that device.
    """

    integers: Integers
    devices: int


class Releaser:
    """The server's side of training: parameters, inner optimizer, one release per round.

    Args:
        tensors: Shape of each tensor that is trained, in the order of the flat vector.
        parameters: Flat float32 vector to start from. Public.
        learning_rate: Server learning rate (FedAdam; Reddi et al., "Adaptive Federated
            Optimization" (2021), https://arxiv.org/abs/2003.00295; see ``tensor_adam``).
        lattice: Bound and step of one device's contribution.
        noise_multiplier: Noise standard deviation on the sum over the clip norm.
        expected_cohort: Constant denominator.
        server_optimizer: ``tensor-adam``, or ``adam`` where there is no noise; ``sgd``, at learning
            rate 1 from zeros, leaves the noised sum itself over the denominator.
        fine_bits: How much finer than the lattice correlated noise is (``BLTDPOptimizer``); None
            for independent noise (``LatticeDPOptimizer``).
        frozen: Entries of ``parameters`` before the trained tensors: part of every model, changed
            by no release.
    """

    def __init__(
        self,
        tensors: Iterable[tuple[int, ...]],
        parameters: npt.NDArray[np.float32],
        *,
        learning_rate: float,
        lattice: Lattice,
        noise_multiplier: float,
        expected_cohort: int,
        server_optimizer: InnerOptimizer = "tensor-adam",
        fine_bits: int | None = None,
        frozen: int = 0,
    ) -> None:
        """Split the flat vector into torch parameters and wrap the optimizer around them."""
        self._shapes = [tuple(shape) for shape in tensors]
        self._frozen = parameters[:frozen].astype(np.float32)
        self._params = [
            torch.nn.Parameter(torch.from_numpy(part.copy()).reshape(shape))
            for part, shape in zip(self._split(parameters[frozen:]), self._shapes, strict=True)
        ]
        self._draw: Callable[[int], Integers] | None = None
        inner = _inner(server_optimizer, self._params, learning_rate)
        options: dict[str, Any] = {
            "lattice": lattice,
            "noise": self._draw_noise,
            "noise_multiplier": noise_multiplier,
            "expected_batch_size": expected_cohort,
        }
        self._optimizer = (
            LatticeDPOptimizer(inner, **options)
            if fine_bits is None
            else BLTDPOptimizer(inner, fine_bits=fine_bits, **options)
        )

    def _split(self, flat: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        if flat.shape != (sum(sizes),):
            raise ValueError(f"expected a vector of {sum(sizes)} entries, got shape {flat.shape}")
        return np.split(flat, np.cumsum(sizes)[:-1])

    def _draw_noise(self, dim: int) -> Integers:
        if self._draw is None:
            raise RuntimeError("noise is drawn inside release() alone")
        draw, self._draw = self._draw, None  # a source serves one release
        return draw(dim)

    @property
    def size(self) -> int:
        """Number of trained parameters: the length of a contribution."""
        return sum(p.numel() for p in self._params)

    def use_lattice(self, lattice: Lattice) -> None:
        """Bound the next round's contributions by another clip norm."""
        self._optimizer.use_lattice(lattice)

    def release(
        self,
        contributions: Iterable[Contribution],
        noise: Noise,
        learning_rate: float | None = None,
    ) -> npt.NDArray[np.float32]:
        """Add noise to the sum of ``contributions``, step, and return the new model. Public.

        Contributions are streamed: memory does not grow with the cohort. No contribution at all is
        a release like any other: the noise alone.

        Args:
            contributions: Integers of shape ``(size,)`` each; one beyond its bound counts as zero.
            noise: Fresh source, keyed for this round.
            learning_rate: For this and later releases; None keeps the last one.
        """
        if learning_rate is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
        self._draw = noise.noise
        self._optimizer.zero_grad()
        for contribution in contributions:
            self._offer(contribution)
            self._optimizer.signal_skip_step(do_skip=True)
            self._optimizer.step()
            self._optimizer.zero_grad()
        self._offer(Contribution(np.zeros(self.size, np.int64), 1))
        self._optimizer.step()
        self._optimizer.zero_grad()
        return self.parameters()

    def _offer(self, contribution: Contribution) -> None:
        self._optimizer.sum_of(contribution.devices)
        parts = self._split(contribution.integers)
        for p, part, shape in zip(self._params, parts, self._shapes, strict=True):
            # An update is local minus global; a gradient points the other way.
            sample = np.negative(part, dtype=np.int64).reshape(1, *shape)
            p.grad_sample = torch.from_numpy(sample)  # type: ignore[attr-defined]

    def parameters(self) -> npt.NDArray[np.float32]:
        """Return a copy of the flat vector, frozen part first. Public: made of releases alone."""
        flat = [p.detach().numpy().reshape(-1) for p in self._params]
        return np.concatenate([self._frozen, *flat]).astype(np.float32)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the inner optimizer's state as arrays. Public: made of releases alone."""
        state: dict[str, npt.NDArray[Any]] = {}
        for number, entry in self._optimizer.state_dict()["state"].items():
            for key, value in entry.items():
                state[f"{number}.{key}"] = value.numpy().copy()
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned.

        Raises:
            ValueError: If an array does not fit the parameters.
        """
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.items():
            number, _, key = name.partition(".")
            entries.setdefault(int(number), {})[key] = torch.from_numpy(np.array(value))
        for position, entry in entries.items():
            if tuple(entry["exp_avg"].shape) != self._shapes[position]:
                raise ValueError("optimizer state does not fit the parameters")
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": entries})


def _inner(
    name: InnerOptimizer, params: list[torch.nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    match name:
        case "tensor-adam":
            return TensorAdam(params, lr=learning_rate)
        case "adam":
            return torch.optim.Adam(params, learning_rate, betas=(0.9, 0.99), eps=1e-10)
        case _:
            return torch.optim.SGD(params, learning_rate)
