"""Ghost clipping of the two-tower: each record's gradient is bounded without being formed.

The table T = V + F W is used twice, for the user vector u = x T and for the scores u T^T + b. Let e
be the gradient of one record's loss by its scores, a = e T, p = x F and q = e F. The gradient by
the parameters is a sum of two outer products:

    dV = x^T a + e^T u,   dW = p^T a + q^T u,   db = e,

    |dV|^2 = |x|^2 |a|^2 + |e|^2 |u|^2 + 2 (x.e) (a.u),   |dW|^2 alike.

Norms without gradients are ghost clipping (https://arxiv.org/abs/2009.03106,
https://arxiv.org/abs/2110.05679). Opacus' own samplers see one layer at a time and would miss the
last term. The clipped sum is taken from the same factors, without a second backward pass
(book-keeping, https://arxiv.org/abs/2210.00038).

**One record moves the integers of a step by at most 2**bits in L2.** Adjacency is zero-out: the
record counts as zero and keeps its place, so that all shapes stay. A row of a dense product of
given shape depends on that row alone, so the other records keep their factors to the last bit. What
is clipped and summed is *defined* by the computed factors; how exactly they match the gradient is a
matter of utility. Let C be the clip norm, g = C / 2**bits, w the weight of a record, R the norm of
its gradient, s^2 the sum over V, W and b of (|x||a| + |e||u|)^2, and all below in float64, unit
roundoff 2**-53; dot products of length k err by k 2**-53 of the product of the norms.

1. The computed norm is inflated to R' >= max(R, 2**-13 s): 2**-26 s^2 is added to its square, more
   than it can err for k <= 2**24, and 2**-960 to it and to each square it is made of, more than can
   underflow. With w = min(1, C' / R'), w R <= C' and w s <= 2**13 C'.
2. A sum over m <= 64 records errs in L2 by at most (2m + 4) 2**-53 times the sum of w s, below
   2**7.1 2**-53 2**6 2**13 C' < 2**-26 C', in either world.
3. Rounding a coordinate to the grid moves it by half a step, so two sums differ by at most one step
   more: sqrt(P) g for P parameters.

Hence C' = C (1 - 2**-24 - sqrt(P) 2**-bits) keeps C. Sums of different chunks add up as integers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping, register_norm_sampler
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import (
    DPLossFastGradientClipping,
    DPTensorFastGradientClipping,
)

from homebody_privacy.lattice import Lattice
from homebody_privacy.lattice_optimizer import LatticeDPOptimizer

Array = npt.NDArray[np.float64]

CHUNK: Final = 64
"""Most records in one floating-point sum."""

LEAST_NORM: Final = 1e-100
"""Least clip norm: the square of a smaller one may underflow."""

_LONGEST: Final = 1 << 24  # of a dot product whose error the inflation covers
_INFLATION: Final = 2.0**-26
_UNDERFLOW: Final = 2.0**-960
_ROUNDING: Final = 2.0**-24


def record_clip_norm(lattice: Lattice, parameters: int) -> float:
    """Return the norm C' each record is clipped to, so that its effect on the integers is bounded.

    Args:
        lattice: The bound of one record and its grid. Public.
        parameters: How many parameters the model has. Public.

    Raises:
        ValueError: If the model is too large or the clip norm too small for the bound to be kept.

    Examples:
        >>> record_clip_norm(Lattice(1.0, bits=20), 2**16) == 1 - 2**-12 - 2**-24
        True
    """
    if not LEAST_NORM <= lattice.clip_norm < math.inf:
        raise ValueError(f"the clip norm of a record must be in [{LEAST_NORM}, inf)")
    if not 1 <= parameters <= _LONGEST:
        raise ValueError(f"the record level is for 1 to {_LONGEST} parameters, got {parameters}")
    # Opacus calls the square root of a sum a norm; rounding it is within _ROUNDING too.
    kept = 1.0 - _ROUNDING - math.sqrt(parameters) / lattice.bound
    return lattice.clip_norm * kept


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The gradients of some records, as factors of outer products. Secret.

    Attributes:
        left: By parameter, the pair (x, e) for ``V`` or (p, q) for ``W``; float64 of shape
            ``(records, rows of the parameter)``.
        right: The pair (a, u), float64 of shape ``(records, dim)``.
        bias: e, the gradients of ``b``.
    """

    left: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    right: tuple[torch.Tensor, torch.Tensor]
    bias: torch.Tensor

    def norms(self) -> dict[str, torch.Tensor]:
        """Return by parameter R' of shape ``(records,)``: never below the exact norm."""
        found = {name: _pair_norms(*pair, *self.right) for name, pair in self.left.items()}
        return found | {"b": _squares(self.bias).mul(1.0 + _INFLATION).sqrt()}

    def weighted_sum(self, weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return by parameter the sum of the gradients times ``weights`` of shape ``(records,)``.

        A record of weight 0 adds nothing, whatever its factors hold.
        """
        drawn = weights > 0.0
        counted = self if bool(drawn.all()) else self._without(~drawn)
        a, u = (weights[:, None] * part for part in counted.right)
        sums = {
            name: torch.addmm(first.T @ a, second.T, u)
            for name, (first, second) in counted.left.items()
        }
        return sums | {"b": weights @ counted.bias}

    def _without(self, out: torch.Tensor) -> "Factors":
        """Return factors with zeros in the rows ``out``: 0 times infinity is no zero."""
        column = out[:, None]
        a, u = (part.masked_fill(column, 0.0) for part in self.right)
        left = {
            name: (first.masked_fill(column, 0.0), second.masked_fill(column, 0.0))
            for name, (first, second) in self.left.items()
        }
        return Factors(left, (a, u), self.bias.masked_fill(column, 0.0))


def _pair_norms(x: torch.Tensor, e: torch.Tensor, a: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Return upper bounds of |x^T a + e^T u|, record by record."""
    first = _squares(x) * _squares(a)
    second = _squares(e) * _squares(u)
    cross = (x * e).sum(1) * (a * u).sum(1)
    factors = (first.sqrt() + second.sqrt()).square()
    # The exact square is at least 0; what rounding took below is less than the inflation.
    squared = (first + second + 2.0 * cross).clamp(min=0.0)
    bounds: torch.Tensor = (squared + _INFLATION * factors + _UNDERFLOW).sqrt()
    return bounds


def _squares(rows: torch.Tensor) -> torch.Tensor:
    return rows.square().sum(1) + _UNDERFLOW


class TwoTowerModule(torch.nn.Module):
    """The two-tower's shared parameters as a torch module in float64, for autograd and Opacus.

    Args:
        tensors: Parameter tensors by name: ``V``, ``b`` and, with content, ``W``.
        features: Public content features, of shape ``(items, features)``.
        repeat: What an item's share of the weights adds to its own score.
    """

    V: torch.Tensor
    W: torch.Tensor
    b: torch.Tensor

    def __init__(
        self,
        tensors: Mapping[str, npt.NDArray[Any]],
        features: npt.NDArray[np.float32],
        repeat: float = 0.0,
    ) -> None:
        """Copy the tensors."""
        super().__init__()
        self._content = "W" in tensors
        self._repeat = repeat
        for name, value in tensors.items():
            own = torch.from_numpy(np.array(value, np.float64))
            self.register_parameter(name, torch.nn.Parameter(own))
        # A plain attribute: Opacus refuses buffers in a layer it differentiates.
        used = features if self._content else features[:, :0]
        self._features = torch.from_numpy(np.array(used, np.float64))
        self.factors: Factors | None = None
        """What Opacus' hooks last asked the norms of. Secret."""

    def forward(self, x: torch.Tensor, probe: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits of shape ``(records, items)``.

        Args:
            x: Weighted histories, float64 of the same shape.
            probe: A column that is added; a backward pass toward it alone passes Opacus' hooks
                and computes no other gradient.
        """
        table = self.V + self._features @ self.W if self._content else self.V
        users = x @ table
        self._seen = (table.detach(), users.detach())
        logits = torch.addmm(self.b, users, table.T)
        if self._repeat:
            logits = logits + self._repeat * x
        return logits if probe is None else logits + probe

    @torch.no_grad()
    def factored(self, x: torch.Tensor, e: torch.Tensor) -> Factors:
        """Return the gradients of the records of the last forward pass.

        Args:
            x: What it was given.
            e: Gradients of the records' losses by its logits.
        """
        table, users = self._seen
        left = {"V": (x, e)}
        if self._content:
            left["W"] = (x @ self._features, e @ self._features)
        return Factors(left, (e @ table, users), e)


@register_norm_sampler(TwoTowerModule)  # type: ignore[untyped-decorator]  # opacus has no types
def norm_sampler(
    module: TwoTowerModule, activations: list[torch.Tensor], backprops: torch.Tensor
) -> dict[torch.nn.Parameter, torch.Tensor]:
    """Answer Opacus' backward hook with the norms of each record's gradient by parameter."""
    module.factors = module.factored(activations[0], backprops)
    return {module.get_parameter(name): norm for name, norm in module.factors.norms().items()}


class GhostModule(GradSampleModuleFastGradientClipping):  # type: ignore[misc]  # no types
    """Opacus' wrapper in ghost mode, whose weights keep the bound of this module's docstring."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits; the hooks fire for an input that is differentiated."""
        self.probe = torch.zeros((len(x), 1), dtype=x.dtype, requires_grad=True)
        logits: torch.Tensor = super().forward(x, self.probe)
        return logits

    def get_clipping_coef(self) -> torch.Tensor:
        """Return the weight of each record: C' / R', at most 1; 0 if its norm is not finite."""
        norms = self.get_norm_sample()
        weights = (self.max_grad_norm / norms).clamp(max=1.0)
        return torch.where(torch.isfinite(norms), weights, 0.0)

    @torch.no_grad()
    def clipped_sum(self) -> Array:
        """Return the sum of the clipped gradients, flat, after a backward pass. Secret."""
        sums = self._module.factors.weighted_sum(self.get_clipping_coef())
        self._module.factors = None
        flat = [sums[name].reshape(-1) for name, _ in self._module.named_parameters()]
        return torch.cat(flat).numpy()


class GhostLatticeOptimizer(
    LatticeDPOptimizer,
    DPOptimizerFastGradientClipping,  # type: ignore[misc]  # opacus ships no types
):
    """Opacus' ghost optimizer on the lattice: takes clipped sums, adds integer noise to all rows.

    The arguments are those of ``LatticeDPOptimizer``. A step without a sum is one of noise alone.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, **constants: Any) -> None:  # noqa: ANN401
        """Start with an empty sum."""
        super().__init__(optimizer, **constants)
        self._units = np.zeros(sum(p.numel() for p in self.params), np.int64)

    @property
    def units(self) -> npt.NDArray[np.int64]:
        """The integers taken since the last step. Secret."""
        return self._units.copy()

    def take(self, total: Array) -> None:
        """Put the clipped sum of at most ``CHUNK`` records on the lattice and add it."""
        self._units += np.rint(total / self._lattice.step).astype(np.int64)

    def accumulate(self) -> None:
        """Hand the integers to the step; a skipped one keeps them for the next."""
        for p, part in zip(self.params, self._split(self._units), strict=True):
            p.summed_grad = part

    def add_noise(self) -> None:
        """Put sum and noise into ``grad`` and start an empty sum."""
        super().add_noise()
        self._units = np.zeros_like(self._units)


class _GhostTensor(DPTensorFastGradientClipping):  # type: ignore[misc]  # opacus ships no types
    """Losses of some records, whose backward pass ends in one clipped sum."""

    def backward(self) -> None:
        """Let Opacus' hooks see the gradients of the scores; add the clipped sum to the step."""
        # By the probe alone: the parameters' own gradients, not clipped, are not even computed.
        torch.autograd.backward(self.loss_per_sample.mean(), inputs=[self.module.probe])
        self.optimizer.take(self.module.clipped_sum())


class GhostLoss(DPLossFastGradientClipping):  # type: ignore[misc]  # opacus ships no types
    """Opacus' loss for ghost clipping, with one backward pass in place of two."""

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> _GhostTensor:
        """Return the losses of at most ``CHUNK`` records.

        Raises:
            ValueError: If there are more: the bound is for one chunk.
        """
        if not 1 <= len(targets) <= CHUNK:
            raise ValueError(f"a sum takes 1 to {CHUNK} records at once")
        made = super().__call__(logits, targets)
        return _GhostTensor(made.module, made.optimizer, made.loss_per_sample, made.loss_reduction)
