"""Which items of the head many devices have close to each other, summed on the lattice.

A device's integer for two items follows from how many steps they were apart and from nothing else
of the pair. So the pairs of a device are counted by distance first; norm, clip and truncation are
done once a distance, in float64 and in the order of ``gram_statistic`` and ``Lattice``; then each
pair gets its distance's integer. Only the order in which the squares of a norm are added differs
from the one-device path.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from homebody_models.statistics.contribution import EVENTS
from homebody_models.statistics.space import Space, packed_place
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.compiled import inner
from homebody_simulation.cohort.dealing import added, by_length, check_rows, in_threads, read_only
from homebody_simulation.cohort.pair_weights import clips_of, weights_of

Integers = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]

_FAR: Final = np.int32(2**31 - 1)  # further apart than any two events


def pairs_total(
    ptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    rows: Integers,
    *,
    space: Space,
    window: float,
    lattice: Lattice,
    threads: int,
) -> Integers:
    """Return the sum of the devices' Gram statistics, int64 of shape ``(space.length,)``. Secret.

    Args:
        ptr: int64 of shape ``(devices + 1,)``; device u owns ``items[ptr[u]:ptr[u + 1]]``.
        items: int32 of shape ``(events,)``, each an item of the space's catalog. Secret.
        rows: Devices, shape ``(n,)``.
        space: Where the matrix lies.
        window: Weight that a step further costs beyond the harmonic one, in (0, 1].
        lattice: Bound and step of one device's part.
        threads: Threads to use, at least 1.
    """
    check_rows(ptr, rows)
    turned = rows[by_length(ptr, rows)]
    ptr, items, place = read_only(ptr), read_only(items), read_only(space.place)
    longest = int((ptr[rows + 1] - ptr[rows]).max(initial=1))
    weights = weights_of(longest, window)
    clips = read_only(clips_of(lattice))
    starts = read_only(_row_starts(space.size))
    scale, squares = Bounds.of(lattice, 1).scale, lattice.bound**2

    def task(part: Integers) -> Integers:
        total = np.zeros(space.length, np.int64)
        _add(ptr, items, turned[part], place, starts, weights, clips, scale, squares, total)
        return total

    return added(in_threads(task, len(rows), threads))


def _row_starts(size: int) -> Integers:
    """Return where each row of the packed matrix starts, less the column it starts with."""
    rows = np.arange(size)
    return packed_place(rows, np.zeros(size, np.int64), size)


@njit(nogil=True, cache=True)
def _add(
    ptr: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    rows: Integers,
    place: Integers,
    starts: Integers,
    weights: Vector,
    clips: Vector,
    scale: float,
    squares: int,
    total: Integers,
) -> None:
    """Add the statistics of ``rows`` to ``total``."""
    steps = np.empty(EVENTS, np.int64)  # of the device's events on the head, newest first
    which = np.empty(EVENTS, np.int64)  # the number of the item there, among its distinct ones
    heads = np.empty(EVENTS, np.int64)  # coordinate of each distinct item
    seen = np.full(len(starts), -1, np.int64)  # who was seen with an item last
    number_of = np.empty(len(starts), np.int64)
    closest = np.empty((EVENTS, EVENTS), np.int32)
    many = np.zeros(len(weights), np.int64)  # pairs by distance; zeros between devices
    levels = np.empty(len(weights), np.int64)
    for index in range(len(rows)):
        first, event = ptr[rows[index]], ptr[rows[index] + 1] - 1
        events = distinct = 0
        while event >= first and events < EVENTS:
            head = place[items[event]]
            if head >= 0:
                if seen[head] != index:
                    seen[head], number_of[head] = index, distinct
                    heads[distinct] = head
                    distinct += 1
                steps[events], which[events] = event, number_of[head]
                events += 1
            event -= 1
        if distinct <= 1:
            continue
        span = steps[0] - steps[events - 1] + 1
        if distinct == events:  # the usual case: no item twice, and each pair met once
            _count(steps[:events], many)
            _bound(many[:span], weights, clips[distinct], scale, squares, levels)
            _give(steps[:events], heads, starts, levels, total)
        else:
            _measure(steps[:events], which[:events], closest[:distinct, :distinct])
            _count_closest(closest[:distinct, :distinct], many)
            _bound(many[:span], weights, clips[distinct], scale, squares, levels)
            _give_closest(closest[:distinct, :distinct], heads, starts, levels, total)
        many[:span] = 0


@inner
def _count(steps: Integers, many: Integers) -> None:
    """Count the pairs of events by distance."""
    for one in range(1, len(steps)):
        for other in range(one):
            many[steps[other] - steps[one]] += 1


@inner
def _give(
    steps: Integers, heads: Integers, starts: Integers, levels: Integers, total: Integers
) -> None:
    """Add its distance's integer to each pair of events."""
    for one in range(1, len(steps)):
        for other in range(one):
            low, high = min(heads[one], heads[other]), max(heads[one], heads[other])
            total[starts[low] + high] += levels[steps[other] - steps[one]]


@inner
def _measure(steps: Integers, which: Integers, closest: npt.NDArray[np.int32]) -> None:
    """Write the least distance of each two different items below the diagonal."""
    closest[:] = _FAR
    for one in range(1, len(steps)):
        for other in range(one):
            high, low = max(which[one], which[other]), min(which[one], which[other])
            if high != low:
                distance = np.int32(steps[other] - steps[one])
                closest[high, low] = min(closest[high, low], distance)


@inner
def _count_closest(closest: npt.NDArray[np.int32], many: Integers) -> None:
    """Count the pairs of items by their least distance."""
    for one in range(1, len(closest)):
        for other in range(one):
            many[closest[one, other]] += 1


@inner
def _give_closest(
    closest: npt.NDArray[np.int32],
    heads: Integers,
    starts: Integers,
    levels: Integers,
    total: Integers,
) -> None:
    """Add its least distance's integer to each pair of items."""
    for one in range(1, len(closest)):
        for other in range(one):
            low, high = min(heads[one], heads[other]), max(heads[one], heads[other])
            total[starts[low] + high] += levels[closest[one, other]]


@inner
def _bound(
    many: Integers, weights: Vector, clip: float, scale: float, squares: int, levels: Integers
) -> None:
    """Write the integer of a pair at each distance that occurs: clipped, truncated, in bound."""
    square = 0.0
    for distance in range(len(many)):
        square += many[distance] * (weights[distance] * weights[distance])
    norm = np.sqrt(square)
    if not norm > 0.0:  # further apart than a float reaches
        levels[: len(many)] = 0
        return
    peak, again = 0.0, 0.0
    for distance in range(len(many)):
        if many[distance] and weights[distance] / norm > peak:
            peak = weights[distance] / norm
    for distance in range(len(many)):
        unit = weights[distance] / norm / peak
        again += many[distance] * (unit * unit)
    limit = clip / np.sqrt(again)  # of the largest entry
    held = 0
    for distance in range(len(many)):
        if many[distance]:
            value = weights[distance] / norm
            level = np.int64((value if peak <= limit else value / peak * limit) * scale)
            levels[distance] = level
            held += many[distance] * level * level
    if held > squares:
        levels[: len(many)] = 0
