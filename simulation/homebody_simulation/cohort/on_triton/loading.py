"""Bring the histories of a cohort to where Triton runs."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from homebody_simulation.cohort.dealing import check_rows
from homebody_simulation.cohort.kernel import Work

_SHARE: Final = 4
"""A population stays on the GPU if it takes at most this part of the memory free there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Histories on a processor, longest first. Secret.

    Attributes:
        items: int32 of shape ``(events,)``: of the cohort, or of the whole population.
        starts: int64 of shape ``(n,)``, where each device's history starts.
        counts: int32 of shape ``(n,)``, its events.
        keys: int32 of shape ``(n,)``, the bits of its key.
        order: int64 of shape ``(n,)``, the place of each in the work.
        longest: Events of the longest.
    """

    items: torch.Tensor = field(repr=False)
    starts: torch.Tensor = field(repr=False)
    counts: torch.Tensor = field(repr=False)
    keys: torch.Tensor = field(repr=False)
    order: torch.Tensor = field(repr=False)
    longest: int = field(repr=False)

    def __len__(self) -> int:
        """Count the devices."""
        return len(self.order)


@dataclass(slots=True)
class Loader:
    """Loads cohorts; keeps a population on the GPU if it fits there with room to spare.

    Attributes:
        where: The processor.
    """

    where: torch.device
    _source: npt.NDArray[np.int32] | None = field(default=None, repr=False)
    _items: torch.Tensor | None = field(default=None, repr=False)

    def load(self, work: Work) -> Loaded:
        """Return the histories of the devices of ``work``, longest first.

        Raises:
            ValueError: If a row is no device.
        """
        check_rows(work.ptr, work.rows)
        firsts = np.asarray(work.ptr[work.rows], np.int64)
        lengths = np.asarray(work.ptr[work.rows + 1], np.int64) - firsts
        items = self._population(work.items)
        if items is None:
            events, firsts = _gathered(work.items, firsts, lengths)
            items = self._to(events)
        counts = self._to(lengths.astype(np.int32))
        order = torch.argsort(counts, descending=True, stable=True)  # there: a GPU sorts faster
        return Loaded(
            items=items,
            starts=self._to(firsts)[order],
            counts=counts[order],
            keys=self._to(work.keys.view(np.int32))[order],
            order=order,
            longest=int(lengths.max(initial=0)),
        )

    def _population(self, items: npt.NDArray[np.int32]) -> torch.Tensor | None:
        """Return all histories on the GPU, brought there once; None if there is no room."""
        if self._source is items:
            return self._items
        self._source, self._items = items, None
        if self.where.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.where)
            if items.nbytes * _SHARE <= free:
                self._items = self._to(items)
        return self._items

    def _to(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.require(array, requirements=("C", "W"))).to(self.where)


def _gathered(
    items: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return some histories back to back, and where each starts; at least one event long."""
    ends = np.cumsum(counts)
    firsts = ends - counts
    total = int(ends[-1]) if len(ends) else 0
    places = np.repeat(starts - firsts, counts) + np.arange(total)
    gathered = np.zeros(max(total, 1), np.int32)  # a program may look at the first, masked
    gathered[:total] = items[places]
    return gathered, firsts
