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
    order: npt.NDArray[np.int64],
    *,
    per_device: bool,
) -> tuple[Sums, npt.NDArray[np.int64]]:
    """Return the sums of a work, and the places in it of devices left out.

    Args:
        tables: Integers of shape ``(tables, size)``; one a device if ``per_device``.
        norms: float64 of shape ``(n,)``, NaN where an update is not finite.
        empty: bool of shape ``(n,)``: which devices had too little history.
        left: bool of shape ``(n,)``: which have added nothing and are to be done again.
        order: The place of each of them in the work.
        per_device: Whether each contribution is wanted.
    """
    own = np.empty(len(order))
    own[order] = norms.cpu().numpy()
    status = np.full(len(order), Status.OK, np.uint8)
    status[order[empty.cpu().numpy()]] = Status.EMPTY
    status[~np.isfinite(own)] = Status.NOT_FINITE
    each = None
    if per_device:
        each = np.empty((len(order), tables.shape[1]), np.int64)
        each[order] = tables.to(torch.int64).cpu().numpy()
    total = tables.sum(0, dtype=torch.int64).cpu().numpy()
    sums = Sums(sum=total, norms=own, status=status, each=each)
    return sums, order[left.cpu().numpy()]
