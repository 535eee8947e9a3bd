"""Distinct items of devices in Triton: the model of popularity, and its one-shot statistic."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_triton.answers import answer
from homebody_simulation.cohort.on_triton.loading import Loaded, Loader
from homebody_simulation.cohort.on_triton.processor import processor, program_count
from homebody_simulation.cohort.on_triton.programs import counts as programs

_SCRATCH_BYTES: Final = 1 << 30
_PROGRAMS: Final = 32  # a multiprocessor
_BLOCK: Final = 128


@dataclass(slots=True)
class TritonPopularity:
    """The kernel of ``Popularity``; see ``Kernel``. Its sums are those of a device, exactly.

    Attributes:
        n_items: Items of the catalog, at least 1.
        loader: Brings histories to the processor.
    """

    n_items: int
    loader: Loader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the processor.

        Raises:
            UsageError: If there is none.
        """
        self.loader = Loader(processor())

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        del parameters  # the gradient does not depend on where the model stands
        loaded = self.loader.load(work)
        total, numbers = count_items(
            loaded, self.n_items, work.lattice, dense=True, apart=work.per_device
        )
        chose = numbers > 0
        sums, _ = answer(
            total,
            chose.to(torch.float64),  # of n entries 1 / sqrt n
            ~chose,
            torch.zeros_like(chose),
            loaded.order,
            per_device=work.per_device,
        )
        return sums


def count_items(
    loaded: Loaded, n_items: int, lattice: Lattice, *, dense: bool, apart: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of devices' distinct items, each over its norm, on the lattice. Secret.

    Args:
        loaded: The devices.
        n_items: Items of the catalog, at least 1.
        lattice: Bound and step of one device's part.
        dense: Whether a part is a vector over the catalog, as a model's, or of the chosen items
            alone: the margin of the clip grows with its length.
        apart: Whether each device's part is wanted.

    Returns:
        int64 of shape ``(1, n_items)``, or ``(devices, n_items)`` if ``apart``; and int32 of shape
        ``(devices,)``, how many different items each has.
    """
    devices, where = len(loaded), loaded.items.device
    total = torch.zeros((devices if apart else 1, n_items), dtype=torch.int64, device=where)
    numbers = torch.zeros(devices, dtype=torch.int32, device=where)
    if not devices:
        return total, numbers
    sizes = [n_items] if dense else range(min(loaded.longest, n_items) + 1)
    clips = [Bounds.of(lattice, size).clip for size in sizes]
    bounds = Bounds.of(lattice, 1)
    slots = max(1, min(program_count(where, _PROGRAMS), devices, _SCRATCH_BYTES // (4 * n_items)))
    programs.count[(slots,)](
        loaded.items,
        loaded.starts,
        loaded.counts,
        torch.tensor(clips, dtype=torch.float64, device=where),
        torch.tensor([bounds.scale, bounds.squares], dtype=torch.float64, device=where),
        torch.zeros((slots, n_items), dtype=torch.int32, device=where),
        numbers,
        total,
        devices,
        n_items,
        n_items if apart else 0,
        DENSE=dense,
        BLOCK=_BLOCK,
        num_warps=1,
        enable_fp_fusion=False,  # to the bit what a device computes
    )
    return total, numbers
