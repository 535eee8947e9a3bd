"""Distinct items of many devices at once: the model of popularity, and its one-shot statistic.

A device adds the same integer to each of its distinct items, and that integer follows from their
number alone. So it is made once for each number that occurs, and the sum is exactly what the
devices would have sent one by one.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.dealing import added, check_rows, in_threads, read_only
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums, Work

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PopularityKernel:
    """Trains ``Popularity``; see ``Kernel``. Its sums are those of the one-device path, exactly.

    The norm of an update is 1. At a clip norm of exactly 1 a device alone may find it a rounding
    above that, and vote so.

    Attributes:
        n_items: Items of the catalog.
    """

    n_items: int

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        del parameters  # the gradient does not depend on where the model stands
        ptr, items = read_only(work.ptr), read_only(work.items)
        numbers = distinct_numbers(ptr, items, work.rows, self.n_items, work.threads)
        levels, norms = _levels(numbers, self.n_items, work.lattice, dense=True)
        each = None
        if work.per_device:
            each = np.zeros((len(work.rows), self.n_items), np.int64)
            for own, row in zip(each, work.rows, strict=True):
                own[work.items[work.ptr[row] : work.ptr[row + 1]]] = 1
            each *= levels[numbers][:, None]
        return Sums(
            sum=_added(ptr, items, work.rows, levels[numbers], self.n_items, work.threads),
            norms=norms[numbers],
            status=np.where(numbers > 0, Status.OK, Status.EMPTY).astype(np.uint8),
            each=each,
        )


def popularity_total(
    ptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    rows: Integers,
    *,
    length: int,
    lattice: Lattice,
    threads: int,
) -> Integers:
    """Return the sum of the devices' popularity statistics, int64 of shape ``(length,)``. Secret.

    Args:
        ptr: int64 of shape ``(devices + 1,)``; device u owns ``items[ptr[u]:ptr[u + 1]]``.
        items: int32 of shape ``(events,)``, each below ``length``. Secret.
        rows: Devices, shape ``(n,)``.
        length: Items of the catalog.
        lattice: Bound and step of one device's part.
        threads: Threads to use, at least 1.
    """
    ptr, items = read_only(ptr), read_only(items)
    numbers = distinct_numbers(ptr, items, rows, length, threads)
    levels, _ = _levels(numbers, length, lattice, dense=False)
    return _added(ptr, items, rows, levels[numbers], length, threads)


def distinct_numbers(
    ptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    rows: Integers,
    n_items: int,
    threads: int,
) -> Integers:
    """Return how many different items each device chose, int64 of shape ``(n,)``. Secret."""
    check_rows(ptr, rows)
    numbers = np.zeros(len(rows), np.int64)

    def task(part: Integers) -> None:
        _count(ptr, items, rows[part], part, n_items, numbers)

    in_threads(task, len(rows), threads)
    return numbers


def _levels(
    numbers: Integers, n_items: int, lattice: Lattice, *, dense: bool
) -> tuple[Integers, npt.NDArray[np.float64]]:
    """Return, by number of distinct items, the integer of each and the norm.

    It is ``Lattice.contribution`` of equal numbers, each step of which is exact or done as there:
    divided by the largest of them they are ones, and the norm of n ones is the root of n.
    ``dense`` bounds a vector over all items, as a model does, else one of the chosen alone: the
    margin of the clip grows with its length.
    """
    most = int(numbers.max(initial=0))
    levels, norms = np.zeros(most + 1, np.int64), np.zeros(most + 1)
    for number in np.unique(numbers[numbers > 0]).tolist():
        bounds = Bounds.of(lattice, n_items if dense else number)
        root = math.sqrt(number)
        level = int(min(1.0 / root, bounds.clip / root) * bounds.scale)
        levels[number] = level if number * level**2 <= bounds.squares else 0
        norms[number] = 1.0
    return levels, norms


def _added(
    ptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    rows: Integers,
    levels: Integers,
    n_items: int,
    threads: int,
) -> Integers:
    """Return the sum of each device's integer over its distinct items."""

    def task(part: Integers) -> Integers:
        total = np.zeros(n_items, np.int64)
        _scatter(ptr, items, rows[part], levels[part], total)
        return total

    return added(in_threads(task, len(rows), threads))


@njit(nogil=True, cache=True)
def _count(
    ptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    rows: Integers,
    places: Integers,
    n_items: int,
    numbers: Integers,
) -> None:
    """Write how many different items each of ``rows`` chose to its place of ``numbers``."""
    seen = np.full(n_items, -1, np.int64)  # who was seen with an item last
    for index in range(len(rows)):
        row, number = rows[index], 0
        for event in range(ptr[row], ptr[row + 1]):
            if seen[items[event]] != index:
                seen[items[event]] = index
                number += 1
        numbers[places[index]] = number


@njit(nogil=True, cache=True)
def _scatter(
    ptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    rows: Integers,
    levels: Integers,
    total: Integers,
) -> None:
    """Add each device's integer to its distinct items."""
    seen = np.full(len(total), -1, np.int64)
    for index in range(len(rows)):
        row, level = rows[index], levels[index]
        for event in range(ptr[row], ptr[row + 1]):
            item = items[event]
            if seen[item] != index:
                seen[item] = index
                total[item] += level
