"""Devices of towers in blocks that fit the cache: windows, user vectors, scores, and the way back.

Rows are windows, padded to whole tiles for each device. Items come in tiles of 64 that stay in the
cache while all rows of a block pass over them, twice: for the scores, and for what the residuals
make of the table. No arithmetic of a device looks at another.
"""

import numpy as np
import numpy.typing as npt

from homebody_simulation.cohort.compiled import inner
from homebody_simulation.cohort.on_numba.tower_examples import choose, read_windows
from homebody_simulation.cohort.on_numba.tower_memory import Catalog, Job, Room, Rule
from homebody_simulation.cohort.on_numba.tower_softmax import to_residuals
from homebody_simulation.cohort.on_numba.tower_tiles import TALL, WIDE, add_product, product

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]

_TALL, _WIDE = TALL, WIDE  # constants of compiled code
_ZERO, _LOWEST = np.float32(0.0), np.float32(-np.inf)


@inner
def fill(catalog: Catalog, rule: Rule, job: Job, start: int, room: Room) -> tuple[int, int]:
    """Put the next devices into a block, with windows and user vectors.

    Devices without anything to predict are passed over.

    Args:
        catalog: What was broadcast.
        rule: What they train on.
        job: The devices.
        start: Which of them comes first.
        room: Receives the block.

    Returns:
        Who comes first in the next block, and the devices of this one.
    """
    devices, rows, index = 0, 0, start
    width, doubled = room.vectors.shape[1], room.factors.shape[2]
    while index < len(job.rows) and devices < len(room.places):
        first, stop = job.ptr[job.rows[index]], job.ptr[job.rows[index] + 1]
        windows = min(rule.cuts, stop - first - 1)
        tall = (windows + _TALL - 1) // _TALL * _TALL
        if rows + tall > len(room.scores):
            break
        if windows > 0:
            positions = room.positions[devices]
            who = (job.keys[index], stop - first, rule.newest)
            choose(who, windows, room.words, positions)
            items, factors = room.items[devices], room.factors[devices]
            seen = read_windows(
                job.items[first:stop], positions, windows, catalog.shares,
                room.slots, items, factors, tall,
            )  # fmt: skip
            for slot in range(seen):
                for column in range(width):
                    room.gathered[slot, column] = catalog.rows[items[slot], column]
            for row in range(2 * rows + tall, 2 * rows + 2 * tall):
                for column in range(width):
                    room.vectors[row, column] = _ZERO  # what comes back is added there
            for row in range(0, tall, _TALL):
                product(
                    room.vectors, (2 * rows + row) * width, width, factors, tall + row, 1, doubled,
                    room.gathered, 0, width, seen, width,
                )  # fmt: skip
            places = room.places[devices]
            places[0], places[1], places[2] = index, rows, windows
            places[3], places[4] = tall, seen
            devices += 1
            rows += tall
        index += 1
    return index, devices


@inner
def write_scores(
    turned: Floats, places: Longs, devices: int, users: Floats, doubled: int, scores: Floats
) -> None:
    """Write the scores of all items in each row of a block, without the levels.

    Args:
        turned: See ``Catalog``.
        places: See ``Room``.
        devices: How many devices there are.
        users: User vectors in the first columns, of a device from its first row on.
        doubled: Rows of ``users`` for each row of scores.
        scores: Receives them; see ``row_length``.
    """
    dim, width, length = turned.shape[1], users.shape[1], scores.shape[1]
    for tile in range(turned.shape[0]):
        start = tile * _WIDE
        for device in range(devices):
            first = places[device, 1]
            for row in range(0, places[device, 3], _TALL):
                product(
                    scores, (first + row) * length + start, length,
                    users, (doubled * first + row) * width, width, 1,
                    turned, start * dim, _WIDE, dim, _WIDE,
                )  # fmt: skip


@inner
def write_residuals(catalog: Catalog, rule: Rule, job: Job, device: int, room: Room) -> bool:
    """Turn a device's scores into residuals; tell whether all are finite.

    Args:
        catalog: What was broadcast.
        rule: What it trains on.
        job: The devices.
        device: Which of the block.
        room: The block.
    """
    places, factors = room.places[device], room.factors[device]
    row, tall = job.rows[places[0]], places[3]
    history = job.items[job.ptr[row] : job.ptr[row + 1]]
    for window in range(places[2]):
        scores, position = room.scores[places[1] + window], room.positions[device, window]
        if rule.repeat > 0.0:
            for slot in range(places[4]):
                weight = factors[slot, tall + window]
                scores[room.items[device, slot]] += np.float32(rule.repeat) * weight
        target = history[position]
        if rule.hidden:
            own = scores[target]
            for event in range(position):
                scores[history[event]] = _LOWEST
            scores[target] = own
        if not to_residuals(scores, catalog.levels, target, room.space, room.integers):
            return False
    for line in range(places[1] + places[2], places[1] + tall):
        for item in range(room.scores.shape[1]):
            room.scores[line, item] = _ZERO
    return True


@inner
def write_back(rows: Floats, places: Longs, devices: int, scores: Floats, vectors: Floats) -> None:
    """Write what each row's residuals make of the catalog: ``residuals @ rows``.

    Args:
        rows: See ``Catalog``.
        places: See ``Room``.
        devices: How many devices there are.
        scores: Residuals.
        vectors: Receives it; see ``Room``. 0 there before.
    """
    width, length = rows.shape[1], scores.shape[1]
    for start in range(0, len(rows), _WIDE):
        for device in range(devices):
            first, tall = places[device, 1], places[device, 3]
            for row in range(0, tall, _TALL):
                add_product(
                    vectors, (2 * first + tall + row) * width, width,
                    scores, (first + row) * length + start, length, 1,
                    rows, start * width, width, _WIDE, width,
                )  # fmt: skip
