"""What a kernel answers with, from what its programs left on the processor."""

import numpy as np
import numpy.typing as npt
import torch

from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums


def answer(
    tables: torch.Tensor,
    norms: torch.Tensor,
    empty: torch.Tensor,
    left: torch.Tensor,
    order: torch.Tensor,
    *,
    per_device: bool,
) -> tuple[Sums, npt.NDArray[np.int64]]:
    """Return the sums of a work, and the places in it of devices left out.

    Args:
        tables: Integers of shape ``(tables, size)``; one a device if ``per_device``.
        norms: float64 of shape ``(n,)``, NaN where an update is not finite.
        empty: bool of shape ``(n,)``: which devices had too little history.
        left: bool of shape ``(n,)``: which have added nothing and are to be done again.
        order: int64 of shape ``(n,)``, the place of each of them in the work.
        per_device: Whether each contribution is wanted.
    """
    own = _in_place(norms, order).cpu().numpy()
    status = np.full(len(own), Status.OK, np.uint8)
    status[_in_place(empty, order).cpu().numpy()] = Status.EMPTY
    status[~np.isfinite(own)] = Status.NOT_FINITE
    each = _in_place(tables.to(torch.int64), order).cpu().numpy() if per_device else None
    total = tables.sum(0, dtype=torch.int64).cpu().numpy()
    sums = Sums(sum=total, norms=own, status=status, each=each)
    return sums, np.flatnonzero(_in_place(left, order).cpu().numpy())


def _in_place(values: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return values in the order of the work."""
    placed = torch.empty_like(values)
    placed[order] = values
    return placed
