"""What a tower's kernel holds in memory: the broadcast laid out for tiles, and room for a block."""

from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from homebody_models.history import HistoryWindow
from homebody_simulation.cohort.on_numba.tower_softmax import row_length
from homebody_simulation.cohort.on_numba.tower_tiles import LANES, TALL, WIDE

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

_NO_ITEM = np.float32(-3e38)  # level of what pads the catalog
_IN_CACHE: Final = 1 << 17  # scores of a block: half a megabyte, of a second-level cache of one
_MOST_ROWS: Final = 64


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


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
