"""The two-tower model in Triton: scores, softmax and products of some thousand cuts at once.

Seven launches a block of devices: choose the cuts, read the histories, score every item, take the
softmax, multiply back (G = R E), measure each gradient without making it, and put it on the lattice
tile by tile. What a device needs is two rows of scores and weights a cut, never a gradient.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_triton import tower_steps as steps
from homebody_simulation.cohort.on_triton.answers import answer
from homebody_simulation.cohort.on_triton.loading import Loaded, Loader
from homebody_simulation.cohort.on_triton.processor import (
    FUSED,
    in_sixteens,
    power_of_two,
    processor,
)
from homebody_simulation.cohort.on_triton.products import Products
from homebody_simulation.cohort.on_triton.programs import draws as draw_programs
from homebody_simulation.cohort.on_triton.programs import tower as programs

MOST_CUTS: Final = 64
"""Most cuts a device may have here: its rows fill a tile."""

_SIXTEEN: Final = 16
_ITEMS: Final = 64
_SCRATCH_BYTES: Final = 1 << 30


@dataclass(slots=True)
class TritonTower:
    """The kernel of ``TwoTower``; see ``Kernel``.

    Attributes:
        model: The model; at most ``MOST_CUTS`` cuts.
        precision: Of products on a GPU: ``ieee`` is float32; ``tf32x3`` splits each number in three
            for the tensor cores and comes close to it.
        loader: Brings histories to the processor.
    """

    model: TwoTower
    precision: steps.Precision = "ieee"
    loader: Loader = field(init=False, repr=False)
    _where: torch.device = field(init=False)
    _features: torch.Tensor | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        """Find the processor, and bring the content there.

        Raises:
            UsageError: If there is none.
        """
        self._where = processor()
        self.loader = Loader(self._where)
        if self.model.content and self.model.features.shape[1]:
            self._features = self._to(self.model.features)

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        loaded = self.loader.load(work)
        devices, size = len(loaded), self.model.layout.trained_size
        matrix, bias = self._matrix(parameters)
        total = torch.zeros(
            (devices if work.per_device else 1, size), dtype=torch.int64, device=self._where
        )
        norms = torch.zeros(devices, dtype=torch.float64, device=self._where)
        left = torch.zeros(devices, dtype=torch.bool, device=self._where)
        positions, cuts = self._cuts(loaded)
        bounds = Bounds.of(work.lattice, size)
        block = self._block(devices)
        for first in range(0, devices, block):
            own = slice(first, min(first + block, devices))
            rx, hg = self._products(loaded, own, positions, cuts, matrix, bias)
            self._measure(rx, hg, cuts[own], norms[own])
            part = total[own] if work.per_device else total
            left[own] = self._add(rx, hg, norms[own], bounds, work, part)
        sums, places = answer(
            total, norms, cuts == 0, left, loaded.order, per_device=work.per_device
        )
        add_alone(self.model, parameters, work, sums, places)
        return sums

    def _matrix(self, parameters: npt.NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [E | F] of shape ``(items, dim + features)``, and the bias."""
        views = self.model.layout.views(np.asarray(parameters, np.float32))
        table, bias = self._to(views["V"]), self._to(views["b"])
        if self._features is None:
            return table, bias
        table += self._features @ self._to(views["W"])
        return torch.cat((table, self._features), 1).contiguous(), bias

    def _cuts(self, loaded: Loaded) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the positions each device predicts, and how many they are."""
        devices = len(loaded)
        padded = power_of_two(self.model.cuts)
        positions = torch.zeros((devices, padded), dtype=torch.int32, device=self._where)
        cuts = torch.zeros(devices, dtype=torch.int32, device=self._where)
        if devices:
            draw_programs.choose_cuts[(devices,)](
                loaded.counts,
                loaded.keys,
                positions,
                cuts,
                CUTS=self.model.cuts,
                PADDED=padded,
                BLOCK=256,
                num_warps=1,
                enable_fp_fusion=FUSED,
            )
        return positions, cuts

    def _products(
        self,
        loaded: Loaded,
        own: slice,
        positions: torch.Tensor,
        cuts: torch.Tensor,
        matrix: torch.Tensor,
        bias: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return R over X, and [H | XF] over [G | RF], of some devices' rows."""
        model, cuts_of = self.model, steps.Cuts.of(loaded, positions, cuts, own)
        rows, columns = cuts_of.rows, matrix.shape[1]
        stride = steps.stride_of(model.n_items)
        rx = torch.empty((2, rows, stride), dtype=torch.float32, device=self._where)
        rx[1].zero_()  # the scores are written whole
        room = in_sixteens(rows)  # every part starts where the last round's did
        hg = torch.empty((2, room, columns), dtype=torch.float32, device=self._where)
        window = steps.Window.of(model.history_max, model.history_decay, self._where)
        steps.read(cuts_of, window, matrix, rx[1], hg[0])
        steps.score(
            hg[0],
            matrix,
            bias,
            rx[1] if model.repeat > 0.0 else None,
            rx[0],
            dim=model.dim,
            repeat=model.repeat,
            precision=self.precision,
        )
        steps.to_residuals(cuts_of, rx[0], model.n_items)
        steps.multiply(rx[0], matrix, hg[1], self.precision)
        return rx, hg

    def _measure(
        self, rx: torch.Tensor, hg: torch.Tensor, cuts: torch.Tensor, norms: torch.Tensor
    ) -> None:
        """Write the norm of each device's gradient."""
        columns = hg.shape[2]
        padded = power_of_two(self.model.cuts)
        programs.measure[(len(cuts),)](
            rx,
            hg,
            cuts,
            norms,
            rx.stride(0),
            hg.stride(0),
            self.model.n_items,
            self.model.dim,
            columns,
            rx.shape[2],
            PADDED=padded,
            DEPTH=max(16, 2 * padded),
            ITEMS=_ITEMS,
            DIM=min(32, max(16, power_of_two(self.model.dim))),
            CONTENT=self._features is not None,
            PRECISION=self.precision,
            enable_fp_fusion=FUSED,
        )
        norms[~torch.isfinite(norms)] = float("nan")

    def _add(
        self,
        rx: torch.Tensor,
        hg: torch.Tensor,
        norms: torch.Tensor,
        bounds: Bounds,
        work: Work,
        total: torch.Tensor,
    ) -> torch.Tensor:
        """Add what some devices contribute to the sums, and return which add nothing after all."""
        model, columns = self.model, hg.shape[2]
        factors = torch.where(norms > bounds.clip, bounds.clip / norms, 1.0) * -bounds.scale
        factors = torch.where(norms > 0.0, factors, 0.0)  # nothing to add, or no number
        chunk = 1 if work.per_device else work.lattice.max_devices
        table = model.n_items * model.dim
        parts = [
            Products(
                left=rx,
                right=hg,
                left_stride=rx.shape[2],
                right_stride=columns,
                second_left=rx.stride(0),
                second_right=hg.stride(0),
                items=model.n_items,
                dim=model.dim,
                start=0,
                bias=model.layout.size - model.n_items,
            )
        ]
        if self._features is not None:
            # Rows of [RF; XF] stand beside [G; H]: the second half of hg comes first.
            features = hg.view(-1)[hg.stride(0) + model.dim :]
            parts.append(
                Products(
                    left=features,
                    right=hg,
                    left_stride=columns,
                    right_stride=columns,
                    second_left=-hg.stride(0),
                    second_right=hg.stride(0),
                    items=columns - model.dim,
                    dim=model.dim,
                    start=table,
                    bias=None,
                )
            )
        padded = power_of_two(model.cuts)
        squares = [part.add(factors, total, padded, chunk, self.precision) for part in parts]
        over = torch.stack(squares).sum(0) > float(bounds.squares)
        if bool(over.any()):  # rounding of the norm let them pass: the same integers, taken away
            undo = torch.where(over, -factors, 0.0)
            for part in parts:
                part.add(undo, total, padded, chunk, self.precision)
        return over | torch.isnan(norms)

    def _block(self, devices: int) -> int:
        """Return how many devices fit the scratch."""
        rows = power_of_two(self.model.cuts)
        one = 8 * rows * (self.model.n_items + self.model.dim + self.model.features.shape[1])
        fit = max(1, int(_SCRATCH_BYTES // one))
        return min(devices, fit if fit < _SIXTEEN else fit - fit % _SIXTEEN)

    def _to(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self._where)
