"""Deals the devices of towers out to threads, in parts that the integers have room for."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.core_tower import CoreTower
from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.dealing import added, by_length, check_rows, in_threads, read_only
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_numba.tower_memory import Catalog, Job, Room

Longs = npt.NDArray[np.int64]
Trained = tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], Longs]
Train = Callable[[Job], Trained]

LEFT: Final = 255
"""Status of a device that is left to the model."""

_MOST: Final = 4096  # devices a thread trains between two visits to the interpreter


def train_all(
    model: TwoTower | CoreTower,
    parameters: npt.NDArray[np.float32],
    work: Work,
    catalog: Catalog,
    of_thread: Callable[[Room], Train],
) -> Sums:
    """Return the sum of what the devices of ``work`` contribute.

    What float32 cannot do is left to the model itself: a device marked ``LEFT``, and one whose
    numbers are not finite. It comes out as it would alone.

    Args:
        model: The model being trained.
        parameters: Broadcast model, flat, of shape ``(size,)``.
        work: Whose, and how it is bounded.
        catalog: The broadcast, laid out.
        of_thread: Takes the memory of one thread; returns what trains a part of the devices there:
            norms, status and the sum of their integers, int64 of shape ``(trained_size,)``.
    """
    check_rows(work.ptr, work.rows)
    count, size = len(work.rows), model.layout.trained_size
    ptr, items = read_only(work.ptr), read_only(work.items)
    order = by_length(ptr, work.rows)
    longest = int((ptr[work.rows + 1] - ptr[work.rows]).max(initial=0))
    most = 1 if work.per_device else min(_MOST, work.lattice.max_devices)
    norms, status = np.zeros(count), np.full(count, Status.EMPTY, np.uint8)
    each = np.zeros((count, size), np.int64) if work.per_device else None

    def task(part: Longs) -> Longs:
        total = np.zeros(size, np.int64)
        train = of_thread(Room.of(catalog, cuts=model.cuts, longest=longest))
        for start in range(0, len(part), most):
            places = order[part[start : start + most]]
            keys = work.keys[places].astype(np.int64)
            norms[places], status[places], own = train(Job(ptr, items, work.rows[places], keys))
            total += own
            if each is not None:
                each[places] = own
        return total

    total = added(in_threads(task, count, work.threads))
    sums = Sums(sum=total, norms=norms, status=status, each=each)
    left = np.flatnonzero((status == LEFT) | (status == Status.NOT_FINITE))
    add_alone(model, parameters, work, sums, left)
    return sums
