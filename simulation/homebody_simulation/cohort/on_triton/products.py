"""Products of devices' rows, put on the lattice and added up; see ``programs.lattice``."""

from dataclasses import dataclass, field
from typing import Final

import torch

from homebody_simulation.cohort.on_triton.processor import FUSED, power_of_two
from homebody_simulation.cohort.on_triton.programs import lattice as programs

_ITEMS: Final = 64
_DIM: Final = 64
_WARPS: Final = 8
_ENOUGH: Final = 1024
"""Programs that keep a GPU busy: below it, a table is added to by more of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Updates A^T B of one part of a model: where A and B are, and where the sum goes.

    Attributes:
        left: float32: A, ``padded`` rows a device and as many ``second_left`` further.
        right: float32: B, likewise.
        left_stride: Distance of two rows of A.
        right_stride: Distance of two rows of B.
        second_left: Distance of the second half of A's rows.
        second_right: Distance of the second half of B's rows.
        items: Coordinates of A.
        dim: Coordinates of B.
        start: Where the part starts in the model.
        bias: Where the sums of the first half of A's rows go, in the model; None for nowhere.
    """

    left: torch.Tensor = field(repr=False)
    right: torch.Tensor = field(repr=False)
    left_stride: int
    right_stride: int
    second_left: int
    second_right: int
    items: int
    dim: int
    start: int
    bias: int | None

    def add(
        self,
        factors: torch.Tensor,
        total: torch.Tensor,
        padded: int,
        most: int,
        precision: str,
    ) -> torch.Tensor:
        """Add trunc(factor A^T B) of each device to ``total``.

        Args:
            factors: float64 of shape ``(devices,)``.
            total: int64 of shape ``(1, size)``, or ``(devices, size)`` where ``most`` is 1.
            padded: Rows of a device in each half.
            most: Most devices whose sum fits 32 bits; 1 for a sum of each device.
            precision: Of the products.

        Returns:
            float64 of shape ``(devices,)``: the sum of the squares of each device's integers.
        """
        devices = len(factors)
        wide = min(_DIM, max(16, power_of_two(self.dim)))
        tiles = (-(-self.items // _ITEMS), -(-self.dim // wide))
        alone = total.shape[0] > 1 or most == 1
        chunks = -(-_ENOUGH // (tiles[0] * tiles[1]))
        chunk = 1 if alone else max(1, min(most, -(-devices // chunks)))
        squares = torch.empty((devices, *tiles), dtype=torch.float64, device=factors.device)
        programs.add_products[(tiles[0], -(-devices // chunk), tiles[1])](
            self.left,
            self.right,
            factors,
            total.view(-1)[self.start :],
            squares,
            devices,
            chunk,
            self.items,
            self.dim,
            self.second_left,
            self.second_right,
            self.left_stride,
            self.right_stride,
            total.shape[1] if alone else 0,
            0 if self.bias is None else self.bias - self.start,
            PADDED=padded,
            DEPTH=max(16, 2 * padded),
            ITEMS=_ITEMS,
            DIM=wide,
            BIAS=self.bias is not None,
            PRECISION=precision,
            num_warps=_WARPS,
            enable_fp_fusion=FUSED,
        )
        return squares.sum((1, 2))
