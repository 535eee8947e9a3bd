"""``MatrixFactorization`` in Triton: batches of ridge systems, then updates of rank one.

The systems are solved by torch in float64, always so many at once: a solver may choose its way by
how many there are, and a device's digits must not depend on who else is in its cohort.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from homebody_models.matrix_factorization import MatrixFactorization
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_triton.answers import answer
from homebody_simulation.cohort.on_triton.loading import Loaded, Loader
from homebody_simulation.cohort.on_triton.processor import (
    FUSED,
    in_sixteens,
    power_of_two,
    processor,
)
from homebody_simulation.cohort.on_triton.programs import ridge as programs
from homebody_simulation.cohort.on_triton.programs import tower as tower_programs

_SOLVED: Final = 1024  # systems at once on a GPU
_INTERPRETED: Final = 16
_SCRATCH_BYTES: Final = 1 << 30
_ITEMS: Final = 64
_BLOCK: Final = 1024
_WARPS: Final = 8
_ENOUGH: Final = 1024  # programs that keep a GPU busy

_ALIKE: Final = 1e-9
"""Ratio of the ends of a spectrum below which half the digits of a solution are rounding."""


@dataclass(slots=True)
class TritonRidge:
    """The kernel of ``MatrixFactorization``; see ``Kernel``.

    Attributes:
        model: The model.
        loader: Brings histories to the processor.
    """

    model: MatrixFactorization
    loader: Loader = field(init=False, repr=False)
    _where: torch.device = field(init=False)

    def __post_init__(self) -> None:
        """Find the processor.

        Raises:
            UsageError: If there is none.
        """
        self._where = processor()
        self.loader = Loader(self._where)

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        loaded = self.loader.load(work)
        devices, size = len(loaded), self.model.layout.trained_size
        views = self.model.layout.views(np.asarray(parameters, np.float32))
        table, bias = self._to(views["Q"]), self._to(views["b"])
        base = self._base(views["Q"])
        total = torch.zeros(
            (devices if work.per_device else 1, size), dtype=torch.int64, device=self._where
        )
        norms = torch.zeros(devices, dtype=torch.float64, device=self._where)
        left = torch.ones(devices, dtype=torch.bool, device=self._where)
        bounds = Bounds.of(work.lattice, size)
        block = self._block()
        for first in range(0, devices, block):
            if base is None:  # all are left
                break
            own = slice(first, min(first + block, devices))
            part = total[own] if work.per_device else total
            left[own] = self._add(loaded, own, table, bias, base, norms[own], bounds, work, part)
        empty = loaded.counts == 0
        sums, places = answer(
            total, norms, empty, left & ~empty, loaded.order, per_device=work.per_device
        )
        add_alone(self.model, parameters, work, sums, places)
        return sums

    def _base(self, table: npt.NDArray[np.float32]) -> torch.Tensor | None:
        """Return what all systems share; None where it is nearly singular, or no number."""
        with np.errstate(all="ignore"):  # a table beyond float32 is the model's to refuse
            gram = (table.T @ table).astype(np.float64)  # as the model makes it
            base = self.model.unseen_weight * gram + self.model.ridge * np.eye(self.model.dim)
        if not np.isfinite(base).all():
            return None
        spectrum = np.linalg.eigvalsh(base)
        return self._to(base) if spectrum[0] > _ALIKE * spectrum[-1] else None

    def _windows(
        self, loaded: Loaded, own: slice
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return items and weights of the newest events, first slots first, and how many."""
        longest = self.model.history_max
        counts = loaded.counts[own]
        lengths = torch.clamp(counts, max=longest)
        slot = torch.arange(power_of_two(longest), device=self._where)
        there = slot[None, :] < lengths[:, None]
        first = loaded.starts[own] + counts - lengths
        places = torch.where(there, first[:, None] + slot[None, :], 0)
        decays = self.model.history_decay ** np.arange(longest, dtype=np.float64)
        ages = torch.where(there, lengths[:, None] - 1 - slot[None, :], 0)
        weights = torch.where(there, self._to(decays)[ages], 0.0)
        return loaded.items[places], weights, lengths

    def _users(
        self,
        table: torch.Tensor,
        base: torch.Tensor,
        items: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        """Return the user vectors, float64; what cannot be solved is no number."""
        devices = len(items)
        users = torch.empty((devices, self.model.dim), dtype=torch.float64, device=self._where)
        at_once = _SOLVED if self._where.type == "cuda" else _INTERPRETED
        for first in range(0, devices, at_once):
            count = min(at_once, devices - first)
            own = torch.zeros((at_once, items.shape[1]), dtype=items.dtype, device=self._where)
            weight = torch.zeros(own.shape, dtype=torch.float64, device=self._where)
            own[:count] = items[first : first + count]
            weight[:count] = weights[first : first + count]
            rows = table[own].to(torch.float64)
            systems = base + (rows * weight[:, :, None]).transpose(1, 2) @ rows
            wanted = (weight[:, None, :] @ rows).transpose(1, 2)
            factor, failed = torch.linalg.cholesky_ex(systems)
            solved = torch.cholesky_solve(wanted, factor)[:, :, 0]
            solved[failed != 0] = float("nan")
            users[first : first + count] = solved[:count]
        return users

    def _add(
        self,
        loaded: Loaded,
        own: slice,
        table: torch.Tensor,
        bias: torch.Tensor,
        base: torch.Tensor,
        norms: torch.Tensor,
        bounds: Bounds,
        work: Work,
        total: torch.Tensor,
    ) -> torch.Tensor:
        """Add what some devices contribute to the sums, and return which are left out."""
        model, devices = self.model, own.stop - own.start
        items, weights, lengths = self._windows(loaded, own)
        users = self._users(table, base, items, weights)
        stride = in_sixteens(model.n_items)
        shape = (devices, stride)
        scores = torch.empty(shape, dtype=torch.float32, device=self._where)
        errors = torch.empty(shape, dtype=torch.float64, device=self._where)
        chosen = torch.zeros(shape, dtype=torch.uint8, device=self._where)
        targets = torch.empty(devices, dtype=torch.float64, device=self._where)
        tower_programs.score[(-(-devices // _ITEMS), -(-model.n_items // _ITEMS))](
            users.to(torch.float32),
            table,
            torch.zeros_like(bias),
            scores,
            scores,
            devices,
            model.n_items,
            model.dim,
            model.dim,
            stride,
            0.0,
            ROWS=_ITEMS,
            ITEMS=_ITEMS,
            DIM=min(64, max(16, power_of_two(model.dim))),
            REPEAT=False,
            PRECISION="ieee",
            num_warps=_WARPS,
            enable_fp_fusion=FUSED,
        )
        programs.fit[(devices,)](
            scores,
            errors,
            chosen,
            targets,
            norms,
            bias,
            items,
            weights,
            lengths,
            users,
            torch.full((1,), model.unseen_weight, dtype=torch.float64, device=self._where),
            model.n_items,
            stride,
            model.dim,
            WINDOW=items.shape[1],
            BLOCK=_BLOCK,
            DIM=power_of_two(model.dim),
            enable_fp_fusion=FUSED,
        )
        norms[~torch.isfinite(norms)] = float("nan")
        factors = torch.where(norms > bounds.clip, bounds.clip / norms, 1.0) * -bounds.scale
        factors = torch.where(norms > 0.0, factors, 0.0)  # nothing to add, or no number
        arrays = (errors, chosen, targets, users, bias)
        squares = self._outer(arrays, factors, total, work)
        over = squares > float(bounds.squares)
        if bool(over.any()):  # rounding of the norm let them pass: the same integers, taken away
            self._outer(arrays, torch.where(over, -factors, 0.0), total, work)
        return over | torch.isnan(norms)

    def _outer(
        self,
        arrays: tuple[torch.Tensor, ...],
        factors: torch.Tensor,
        total: torch.Tensor,
        work: Work,
    ) -> torch.Tensor:
        """Add updates to ``total``; return the sum of the squares of each device's integers."""
        devices, items = len(factors), self.model.n_items
        tiles = -(-items // _ITEMS)
        parts = -(-_ENOUGH // tiles)
        most = 1 if work.per_device else work.lattice.max_devices
        chunk = max(1, min(most, -(-devices // parts)))
        squares = torch.empty((devices, tiles), dtype=torch.float64, device=self._where)
        programs.add_outer[(tiles, -(-devices // chunk))](
            *arrays,
            factors,
            total,
            squares,
            devices,
            chunk,
            items,
            in_sixteens(items),
            self.model.dim,
            total.shape[1] if work.per_device else 0,
            ITEMS=_ITEMS,
            DIM=power_of_two(self.model.dim),
            num_warps=_WARPS,
            enable_fp_fusion=FUSED,
        )
        return squares.sum(1)

    def _block(self) -> int:
        """Return how many devices fit the scratch: of scores, errors and marks."""
        fit = int(_SCRATCH_BYTES // (13 * in_sixteens(self.model.n_items)))
        return max(16, fit - fit % 16)

    def _to(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self._where)
