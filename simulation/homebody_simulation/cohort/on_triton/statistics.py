"""One-shot statistics of many devices in Triton; see ``Counter``."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from homebody_models.statistics.contribution import EVENTS
from homebody_models.statistics.space import Space
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.kernel import Work
from homebody_simulation.cohort.on_triton.counts import count_items
from homebody_simulation.cohort.on_triton.loading import Loader
from homebody_simulation.cohort.on_triton.processor import program_count
from homebody_simulation.cohort.on_triton.programs import pairs as programs
from homebody_simulation.cohort.pair_weights import clips_of, weights_of

Integers = npt.NDArray[np.int64]

_PROGRAMS: Final = 8  # a multiprocessor
_LISTS: Final = 5  # of a device's events, that a program works with
_TILE: Final = 32
_BLOCK: Final = 128
_WARPS: Final = 4


@dataclass(frozen=True, slots=True)
class TritonCounter:
    """Counts popularity and pairs where Triton runs; see ``Counter``.

    Attributes:
        loader: Brings histories there; that of a kernel, so that they lie there once.
    """

    loader: Loader = field(repr=False)

    def popularity(self, work: Work, length: int) -> Integers:
        """Return the sum of the devices' popularity statistics; see ``Counter.popularity``."""
        total, _ = count_items(self.loader.load(work), length, work.lattice, dense=False)
        return _to_host(total[0])

    def pairs(self, work: Work, space: Space, window: float) -> Integers:
        """Return the sum of the devices' Gram statistics; see ``Counter.pairs``."""
        loaded = self.loader.load(work)
        where, devices = self.loader.where, len(loaded)
        total = torch.zeros(space.length, dtype=torch.int64, device=where)
        if not devices or not space.length:
            return _to_host(total)
        bounds = Bounds.of(work.lattice, 1)
        slots = min(program_count(where, _PROGRAMS), devices)
        programs.add_pairs[(slots,)](
            loaded.items,
            loaded.starts,
            loaded.counts,
            torch.from_numpy(space.place.astype(np.int32)).to(where),
            torch.from_numpy(weights_of(max(loaded.longest, 1), window)).to(where),
            torch.from_numpy(clips_of(work.lattice)).to(where),
            torch.tensor([bounds.scale, bounds.squares], dtype=torch.float64, device=where),
            torch.empty((slots, _LISTS, EVENTS), dtype=torch.int32, device=where),
            torch.empty((slots, EVENTS, EVENTS), dtype=torch.int32, device=where),
            total,
            devices,
            space.size,
            EVENTS=EVENTS,
            TILE=_TILE,
            BLOCK=_BLOCK,
            num_warps=_WARPS,
            enable_fp_fusion=False,  # rounded as a device rounds
        )
        return _to_host(total)


def _to_host(total: torch.Tensor) -> Integers:
    integers: Integers = total.cpu().numpy()
    return integers
