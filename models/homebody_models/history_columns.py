"""Histories of many devices in columns: what is done for one is done for all, without a loop.

A block of a population is two arrays of places and one of events. It is also a sequence of arrays,
one a device, so that code written for a list of histories takes it as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self, overload

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Histories(Sequence[npt.NDArray[np.integer]]):
    """Histories of ``n`` devices, oldest event first. Secret.

    Attributes:
        items: Item indices of shape ``(events,)``; may be memory-mapped, and hold those of others.
        starts: int64 of shape ``(n,)``: where each history begins in ``items``.
        stops: int64 of shape ``(n,)``: where it ends.

    Examples:
        >>> both = Histories.of([np.array([3, 1, 3]), np.array([2])])
        >>> both.lengths.tolist(), both[0].tolist(), both[1:][0].tolist()
        ([3, 1], [3, 1, 3], [2])
    """

    items: npt.NDArray[np.integer] = field(repr=False)
    starts: Places = field(repr=False)
    stops: Places = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse places that are not one beginning and one end for each device."""
        if self.starts.shape != self.stops.shape or self.starts.ndim != 1:
            raise ValueError("starts and stops must be one-dimensional and of the same length")

    @classmethod
    def of(cls, histories: Sequence[npt.NDArray[np.integer]]) -> "Histories":
        """Return histories as columns: as they are if they are columns, else copied into them."""
        if isinstance(histories, Histories):
            return histories
        lengths = np.array([len(history) for history in histories], np.int64)
        stops = np.cumsum(lengths)
        items = np.concatenate(histories) if len(histories) else np.zeros(0, np.int64)
        return cls(items, stops - lengths, stops)

    @classmethod
    def rows(
        cls, ptr: Places, items: npt.NDArray[np.integer], devices: npt.NDArray[np.integer]
    ) -> Self:
        """Return the histories of some devices of a population, without a copy of their events.

        Args:
            ptr: int64 of shape ``(all devices + 1,)``; device u owns ``items[ptr[u]:ptr[u + 1]]``.
            items: Item indices of all devices.
            devices: Whose, in the order wanted; shape ``(n,)``.
        """
        numbers = np.asarray(devices, np.int64)
        return cls(items, np.asarray(ptr[numbers]), np.asarray(ptr[numbers + 1]))

    def __len__(self) -> int:
        """Count the devices."""
        return len(self.starts)

    @overload
    def __getitem__(self, place: int) -> npt.NDArray[np.integer]: ...
    @overload
    def __getitem__(self, place: slice | Places) -> "Histories": ...
    def __getitem__(self, place: int | slice | Places) -> "npt.NDArray[np.integer] | Histories":
        """Return one device's history, or those of some devices."""
        if isinstance(place, slice | np.ndarray):
            return Histories(self.items, self.starts[place], self.stops[place])
        return self.items[self.starts[place] : self.stops[place]]

    def __iter__(self) -> Iterator[npt.NDArray[np.integer]]:
        """Yield one history after another."""
        for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
            yield self.items[start:stop]

    @property
    def lengths(self) -> Places:
        """Events of each device, int64 of shape ``(n,)``."""
        return self.stops - self.starts

    def newest(self, count: int) -> "Histories":
        """Return at most the ``count`` newest events of each device."""
        return Histories(self.items, np.maximum(self.starts, self.stops - count), self.stops)

    def events(self) -> tuple[Places, Places]:
        """Return every event: whose it is, from 0, and its item; by device, oldest first."""
        lengths = self.lengths
        owners = np.repeat(np.arange(len(self)), lengths)
        if len(self) and (self.starts[1:] == self.stops[:-1]).all():  # neighbours: no gather
            return owners, self.items[self.starts[0] : self.stops[-1]].astype(np.int64)
        before = np.cumsum(lengths) - lengths
        places = np.arange(len(owners)) + np.repeat(self.starts - before, lengths)
        return owners, self.items[places].astype(np.int64)

    def ages(self) -> Places:
        """Return the age of every event in the order of ``events``: 0 for a device's newest."""
        lengths = self.lengths
        after = np.cumsum(lengths) - 1
        return np.repeat(after, lengths) - np.arange(int(lengths.sum()))

    def slots(self, count: int) -> Places:
        """Return the ``count`` newest items of each device, padded with 0 in front.

        Returns:
            int64 of shape ``(n, count)``, newest last.
        """
        places = self.stops[:, None] - np.arange(count, 0, -1)
        used = places >= self.starts[:, None]
        if not used.any():
            return np.zeros(used.shape, np.int64)
        items = self.items[np.where(used, places, self.stops.max() - 1)].astype(np.int64)
        items *= used
        return items

    def distinct(self) -> "Histories":
        """Return each device's items once, rising."""
        owners, items = self.events()
        wide = int(items.max(initial=0)) + 1
        keys = np.sort(owners * wide + items)
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if len(keys) else keys
        return _regrouped(keys // wide, keys % wide, len(self))

    def without(self, items: npt.NDArray[np.integer]) -> "Histories":
        """Return each device's events but those of one item of its own.

        Args:
            items: Which item, shape ``(n,)``.
        """
        owners, chosen = self.events()
        kept = chosen != items[owners]
        return _regrouped(owners[kept], chosen[kept], len(self))

    def known(self, places: Places) -> "Histories":
        """Return what each item becomes by a table, without the events that become -1.

        Args:
            places: int64 of shape ``(catalog,)``; -1 for an item to leave out.
        """
        owners, items = self.events()
        became = places[items]
        kept = became >= 0
        return _regrouped(owners[kept], became[kept], len(self))


def _regrouped(owners: Places, items: Places, n: int) -> Histories:
    """Return columns of events that are ordered by owner."""
    stops = np.cumsum(np.bincount(owners, minlength=n))
    return Histories(items, np.concatenate((np.zeros(1, np.int64), stops))[:-1], stops)
