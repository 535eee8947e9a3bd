"""Devices of towers in blocks that fit the cache: windows, user vectors, scores, and the way back.

Rows are windows, padded to whole tiles for each device. Items come in tiles of 64 that stay in the
cache while all rows of a block pass over them, twice: for the scores, and for what the residuals
make of the table. No arithmetic of a device looks at another.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from homebody_models.history import HistoryWindow
from homebody_simulation.cohort.compiled import inner
from homebody_simulation.cohort.on_numba.tower_examples import choose, read_windows
from homebody_simulation.cohort.on_numba.tower_softmax import row_length, to_residuals
from homebody_simulation.cohort.on_numba.tower_tiles import (
    LANES,
    TALL,
    WIDE,
    add_product,
    product,
)

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

_TALL, _WIDE = TALL, WIDE  # constants of compiled code
_ZERO, _LOWEST = np.float32(0.0), np.float32(-np.inf)
_NO_ITEM = np.float32(-3e38)  # level of what pads the catalog
_IN_CACHE = 1 << 17  # scores of a block: half a megabyte, of a second-level cache of one or more
_MOST_ROWS = 64


class Catalog(NamedTuple):
    """What was broadcast, laid out for tiles. Public.

    Attributes:
        rows: float32 of shape ``(padded items, width)``: what a residual is multiplied by: the item
            table, its columns padded with zeros, then content features, padded too.
        turned: float32 of shape ``(tiles, padded dim, 64)``: the table alone, by tile, transposed.
        levels: float32 of shape ``(padded items,)``: what is added to each score; very low where
            there is no item.
        shares: Weights of windows by length; see ``read_windows``.
        n_items: Items of the catalog.
    """

    rows: Floats
    turned: Floats
    levels: Floats
    shares: Floats
    n_items: int

    @classmethod
    def of(cls, table: Floats, levels: Floats, content: Floats, window: HistoryWindow) -> Self:
        """Lay out what was broadcast.

        Args:
            table: float32 of shape ``(items, dim)``.
            levels: float32 of shape ``(items,)``, added to the scores.
            content: float32 of shape ``(items, features)``; may have no column.
            window: Which events form a user vector.
        """
        (items, dim), features = table.shape, content.shape[1]
        padded, wide = _up(items, WIDE), _up(dim, LANES)
        rows = np.zeros((padded, wide + _up(features, LANES)), np.float32)
        rows[:items, :dim] = table
        rows[:items, wide : wide + features] = content
        lengths = [np.zeros(length, np.int64) for length in range(window.history_max + 1)]
        tiles = rows[:, :wide].reshape(-1, WIDE, wide).transpose(0, 2, 1)
        return cls(
            rows=rows,
            turned=np.ascontiguousarray(tiles),
            levels=np.append(levels, np.full(padded - items, _NO_ITEM)).astype(np.float32),
            shares=window.shares(lengths)[1],
            n_items=items,
        )


class Rule(NamedTuple):
    """What a device trains on. Public.

    Attributes:
        cuts: Most events a device predicts.
        newest: Whether they are its newest, or drawn by chance.
        repeat: What an item's weight in the window adds to its own score.
        hidden: Whether what was chosen before is left out of the softmax, but for the target.
    """

    cuts: int
    newest: bool
    repeat: float
    hidden: bool


class Job(NamedTuple):
    """Devices to train. Secret.

    Attributes:
        ptr: Where each history of the population starts; see ``Work``.
        items: Events of all histories; see ``Work``.
        rows: int64 of shape ``(n,)``: the devices.
        keys: int64 of shape ``(n,)``: the keys of their draws.
    """

    ptr: Longs
    items: Ints
    rows: Longs
    keys: Longs


class Room(NamedTuple):
    """Memory of one thread for a block of devices, r rows of windows in all. Secret.

    Attributes:
        places: int64 of shape ``(devices, 5)``: place in the job, first row, windows, rows (whole
            tiles), distinct items.
        positions: int64 of shape ``(devices, windows)``: the events to predict.
        items: int32 of shape ``(devices, most items)``: a device's distinct items.
        factors: float32 of shape ``(devices, most items, 2 * rows of a device)``: for each of
            those, what residuals and then what weights it has in each window.
        gathered: float32 of shape ``(most items, width)``: their rows of the catalog.
        vectors: float32 of shape ``(2 * r, width)``: a device's user vectors, each with the content
            of its window; then, in as many rows, what its residuals make of the catalog.
        scores: float32 of shape ``(r, padded items)``: scores, then residuals.
        slots: int32 of shape ``(items,)``, all -1 between devices.
        words: int64 of shape ``(windows,)``.
        space: float32 of shape ``(64,)``.
        integers: int32 of shape ``(padded items,)``.
    """

    places: Longs
    positions: Longs
    items: Ints
    factors: Floats
    gathered: Floats
    vectors: Floats
    scores: Floats
    slots: Ints
    words: Longs
    space: Floats
    integers: Ints

    @classmethod
    def of(cls, catalog: Catalog, *, cuts: int, longest: int) -> Self:
        """Return room for blocks of devices that predict at most ``cuts`` events each.

        Args:
            catalog: What was broadcast.
            cuts: Most windows of one device.
            longest: Events of the longest history.
        """
        cuts = max(1, min(cuts, longest - 1))
        tall, length = _up(cuts, TALL), row_length(catalog.n_items)
        rows = max(tall, min(_MOST_ROWS, _IN_CACHE // length) // TALL * TALL)
        devices, width = rows // TALL, catalog.rows.shape[1]
        most = max(1, min(catalog.n_items, longest, cuts * (len(catalog.shares) - 1)))
        return cls(
            places=np.zeros((devices, 5), np.int64),
            positions=np.zeros((devices, cuts), np.int64),
            items=np.zeros((devices, most), np.int32),
            factors=np.zeros((devices, most, 2 * tall), np.float32),
            gathered=np.zeros((most, width), np.float32),
            vectors=np.zeros((2 * rows, width), np.float32),
            scores=np.zeros((rows, length), np.float32),
            slots=np.full(catalog.n_items, -1, np.int32),
            words=np.zeros(cuts, np.int64),
            space=np.zeros(WIDE, np.float32),
            integers=np.zeros(length, np.int32),
        )


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


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
