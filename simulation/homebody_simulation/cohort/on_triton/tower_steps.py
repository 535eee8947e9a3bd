"""The launches that towers share: read histories, score every item, take the softmax, go back."""

from dataclasses import dataclass, field
from typing import Final, Literal, Self

import numpy as np
import torch

from homebody_simulation.cohort.on_triton.loading import Loaded
from homebody_simulation.cohort.on_triton.processor import FUSED, in_sixteens, power_of_two
from homebody_simulation.cohort.on_triton.programs import tower as programs
from homebody_simulation.cohort.on_triton.weights import shares_by_age

Precision = Literal["ieee", "tf32x3"]

_ROWS: Final = 64
_ITEMS: Final = 64
_BLOCK: Final = 1024
_WARPS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """What some devices predict, a row each; a device has ``padded`` rows. Secret.

    Attributes:
        items: int32, histories back to back.
        starts: int64 of shape ``(n,)``, where each device's history starts.
        positions: int32 of shape ``(n, padded)``, the positions it predicts, ascending.
        numbers: int32 of shape ``(n,)``, how many they are.
    """

    items: torch.Tensor = field(repr=False)
    starts: torch.Tensor = field(repr=False)
    positions: torch.Tensor = field(repr=False)
    numbers: torch.Tensor = field(repr=False)

    @classmethod
    def of(cls, loaded: Loaded, positions: torch.Tensor, numbers: torch.Tensor, own: slice) -> Self:
        """Return the cuts of some of the loaded devices."""
        return cls(
            items=loaded.items,
            starts=loaded.starts[own],
            positions=positions[own],
            numbers=numbers[own],
        )

    @property
    def padded(self) -> int:
        """Rows of a device."""
        return self.positions.shape[1]

    @property
    def rows(self) -> int:
        """Rows of all of them."""
        return self.positions.numel()


@dataclass(frozen=True, slots=True)
class Window:
    """The weights of the newest events before a cut. Public.

    Attributes:
        history_max: Most events.
        shares: float32 of shape ``(padded + 1, padded)``; see ``shares_by_age``.
    """

    history_max: int
    shares: torch.Tensor = field(repr=False)

    @classmethod
    def of(cls, history_max: int, decay: float, where: torch.device) -> Self:
        """Return the weights of a model's window, where Triton runs."""
        shares = shares_by_age(history_max, decay, power_of_two(history_max))
        return cls(history_max, torch.from_numpy(shares.astype(np.float32)).to(where))


def read(
    cuts: Cuts, window: Window, matrix: torch.Tensor, x: torch.Tensor | None, means: torch.Tensor
) -> None:
    """Write the recency weights of each row to ``x``, and the weighted mean of a matrix's rows.

    Args:
        cuts: The rows.
        window: Weights.
        matrix: float32 of shape ``(items, columns)``.
        x: float32 of shape ``(rows, stride)``, zeros; None where they are not wanted.
        means: float32 of shape ``(rows, columns)``.
    """
    columns = matrix.shape[1]
    wide = min(64, max(16, power_of_two(columns)))
    programs.read_windows[(cuts.rows, -(-columns // wide))](
        cuts.items,
        cuts.starts,
        cuts.positions,
        cuts.numbers,
        window.shares,
        matrix,
        means if x is None else x,
        means,
        columns,
        window.history_max,
        0 if x is None else x.shape[1],
        PADDED=cuts.padded,
        WINDOW=window.shares.shape[1],
        COLUMNS=wide,
        WEIGHTS=x is not None,
        enable_fp_fusion=FUSED,
    )


def score(
    users: torch.Tensor,
    matrix: torch.Tensor,
    bias: torch.Tensor,
    x: torch.Tensor | None,
    scores: torch.Tensor,
    dim: int,
    repeat: float,
    precision: Precision,
) -> None:
    """Write users times items, plus the bias, plus ``repeat`` times ``x``.

    Args:
        users: float32, rows of ``matrix.shape[1]`` columns, of which the first ``dim`` are used.
        matrix: float32 of shape ``(items, columns)``.
        bias: float32 of shape ``(items,)``.
        x: float32 of shape ``(rows, stride)``; None for nothing to add.
        scores: float32 of shape ``(rows, stride)``, written.
        dim: Dimensions.
        repeat: What a recency weight counts.
        precision: Of the product.
    """
    (rows, stride), (items, columns) = scores.shape, matrix.shape
    programs.score[(-(-rows // _ROWS), -(-items // _ITEMS))](
        users,
        matrix,
        bias,
        scores if x is None else x,
        scores,
        rows,
        items,
        dim,
        columns,
        stride,
        repeat,
        ROWS=_ROWS,
        ITEMS=_ITEMS,
        DIM=min(64, max(16, power_of_two(dim))),
        REPEAT=x is not None,
        PRECISION=precision,
        num_warps=_WARPS,
        enable_fp_fusion=FUSED,
    )


def to_residuals(cuts: Cuts, scores: torch.Tensor, n_items: int) -> None:
    """Turn rows of scores into (softmax - target) / cuts, in place; unused rows into zeros."""
    programs.residual[(cuts.rows,)](
        scores,
        cuts.items,
        cuts.starts,
        cuts.positions,
        cuts.numbers,
        n_items,
        scores.shape[1],
        PADDED=cuts.padded,
        BLOCK=_BLOCK,
        enable_fp_fusion=FUSED,
    )


def multiply(
    left: torch.Tensor, matrix: torch.Tensor, product: torch.Tensor, precision: Precision
) -> None:
    """Write the product of rows and a matrix.

    Args:
        left: float32 of shape ``(rows, stride)``, of which the first ``items`` columns are used.
        matrix: float32 of shape ``(items, columns)``.
        product: float32 of shape ``(rows, columns)`` or more rows, written.
        precision: Of the product.
    """
    (rows, stride), (items, columns) = left.shape, matrix.shape
    wide = min(64, max(16, power_of_two(columns)))
    programs.multiply[(-(-rows // _ROWS), -(-columns // wide))](
        left,
        matrix,
        product,
        rows,
        items,
        columns,
        stride,
        ROWS=_ROWS,
        COLUMNS=wide,
        ITEMS=_ITEMS,
        PRECISION=precision,
        num_warps=_WARPS,
        enable_fp_fusion=FUSED,
    )


def stride_of(n_items: int) -> int:
    """Return the distance of two rows of scores: each starts where a vector load may."""
    return in_sixteens(n_items)
