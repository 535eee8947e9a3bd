"""From residuals to the lattice, without a table of gradients: the norm, then the integers.

Of a device with residuals R, window weights X, user vectors H and G = R E, the gradient of the
table is R^T H + X^T G, that of content F^T of that, that of the levels R^T 1, each divided by the
number of windows. With A = [R; X] and B = [H; G] the sum of their squares is
sum (A A^T + A F F^T A^T) * (B B^T), plus that of the levels, which is sum R R^T: exact, from
matrices as small as the windows are few.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from homebody_simulation.cohort.compiled import inner, inner_fast
from homebody_simulation.cohort.on_numba.tower_memory import Catalog, Room
from homebody_simulation.cohort.on_numba.tower_tiles import TALL, WIDE, row_units, units

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_TALL, _WIDE = TALL, WIDE  # constants of compiled code
_PART = 512  # terms of a sum in float32; the parts are added in float64
_ROOM = 2.0**34  # larger factors would leave nothing of float32's digits, and not fit int32
_ZERO = np.float32(0.0)


class Table(NamedTuple):
    """What a thread's devices add up to, on the lattice, and what leads there. Secret.

    Attributes:
        rows: int32 of shape ``(padded items + features, padded dim)``: item table, then content.
        levels: int32 of shape ``(padded items,)``.
        steps: float32 of shape ``(devices, 2 * rows of a device, padded dim)``: of each device of
            a block, user vectors and then what came back, in lattice steps.
        content: float32 of shape ``(features, 2 * rows of a device)``: room for one device's
            residuals and weights, summed over content.
        scales: float64 of shape ``(devices,)``: lattice steps of one residual.
        squares: int64 of shape ``(devices,)``: the sum of the squares of what each has added.
        products: float64 of shape ``(2 * rows of a device, 2 * rows of a device)``.
    """

    rows: Ints
    levels: Ints
    steps: Floats
    content: Floats
    scales: Doubles
    squares: npt.NDArray[np.int64]
    products: Doubles

    @classmethod
    def of(cls, catalog: Catalog, room: Room, features: int) -> Self:
        """Return an empty one for blocks as large as ``room``."""
        devices, doubled = len(room.places), room.factors.shape[2]
        padded, dim = len(catalog.rows), catalog.turned.shape[1]
        return cls(
            rows=np.zeros((padded + features, dim), np.int32),
            levels=np.zeros(padded, np.int32),
            steps=np.zeros((devices, doubled, dim), np.float32),
            content=np.zeros((features, doubled), np.float32),
            scales=np.zeros(devices),
            squares=np.zeros(devices, np.int64),
            products=np.zeros((doubled, doubled)),
        )


@inner
def take_own(room: Room, device: int, products: Doubles) -> None:
    """Move the residuals of a device's own items from the scores to its list of them.

    These items get more than residuals, and no coordinate is truncated twice. Receives in
    ``products`` the products of residuals and weights, summed over these items.
    """
    places, factors = room.places[device], room.factors[device]
    first, tall = places[1], places[3]
    width = 2 * tall
    for a in range(width):
        for b in range(width):
            products[a, b] = 0.0
    for slot in range(places[4]):
        item = room.items[device, slot]
        for row in range(tall):
            factors[slot, row] = room.scores[first + row, item]
            room.scores[first + row, item] = _ZERO
        for a in range(width):
            factor = np.float64(factors[slot, a])
            for b in range(width):
                products[a, b] += factor * factors[slot, b]


@inner_fast
def _dot(a: Floats, b: Floats) -> float:
    """Return the product of two vectors."""
    total = 0.0
    for start in range(0, len(a), _PART):
        one, other, own = a[start : start + _PART], b[start : start + _PART], _ZERO
        for index in range(len(one)):
            own += one[index] * other[index]
        total += float(own)
    return total


@inner
def squared_norm(room: Room, device: int, dim: int, products: Doubles) -> float:
    """Return the squared norm of a device's gradient times its windows, after ``take_own``."""
    places, width = room.places[device], room.vectors.shape[1]
    first, windows, tall = places[1], places[2], places[3]
    total = 0.0
    for a in range(tall + windows):
        one = room.vectors[2 * first + a]
        for b in range(a, tall + windows):
            pair = products[a, b]
            if b < windows:
                pair += _dot(room.scores[first + a], room.scores[first + b])
            level = pair if b < windows else 0.0
            if width > dim:  # content of the window goes with what came back, and the other way
                content = room.vectors[2 * first + (a + tall) % (2 * tall)]
                other = room.vectors[2 * first + (b + tall) % (2 * tall)]
                pair += _dot(content[dim:], other[dim:])
            pair *= _dot(one[:dim], room.vectors[2 * first + b, :dim])
            total += pair + level if a == b else 2.0 * (pair + level)
    return total


@inner
def write_steps(room: Room, device: int, scale: float, table: Table) -> bool:
    """Write what a device is multiplied by on its way; tell whether float32 can hold it.

    Args:
        room: The block.
        device: Which of it.
        scale: Lattice steps of one unit of the summed gradient of its windows, with the sign.
        table: Receives it.
    """
    places, dim, features = room.places[device], table.rows.shape[1], len(table.content)
    largest, content, first = 0.0, 1.0, 2 * places[1]
    for row in range(2 * places[3]):
        for column in range(dim):
            own = room.vectors[first + row, column] * scale
            table.steps[device, row, column] = np.float32(own)
            largest = max(largest, abs(own))
        for feature in range(features):
            content = max(content, abs(room.vectors[first + row, dim + feature]))
    table.scales[device], table.squares[device] = scale, 0
    fits: bool = 2.0 * places[2] * max(abs(scale), largest * content) <= _ROOM
    return fits


@inner
def add_tile(room: Room, device: int, tile: int, table: Table) -> None:
    """Add a device's residuals on a tile of 64 items to the lattice, after ``take_own``."""
    places, steps = room.places[device], table.steps[device]
    dim, length, scale = table.rows.shape[1], room.scores.shape[1], np.float32(table.scales[device])
    start, first, squares = tile * _WIDE, places[1], 0
    for item in range(start, start + _WIDE, _TALL):
        squares += units(
            table.rows, item * dim, dim, room.scores, first * length + item, 1, length,
            steps, 0, dim, places[3], dim,
        )  # fmt: skip
    sums, levels = room.space, table.levels[start : start + _WIDE]
    for lane in range(_WIDE):
        sums[lane] = _ZERO
    for row in range(first, first + places[2]):
        residuals = room.scores[row, start : start + _WIDE]
        for lane in range(_WIDE):
            sums[lane] += residuals[lane]
    for lane in range(_WIDE):
        level = np.int32(sums[lane] * scale)
        levels[lane] += level
        squares += int(level) * int(level)
    table.squares[device] += squares


@inner
def add_own(room: Room, device: int, table: Table) -> None:
    """Add what a device's own items get to the lattice, and what content gets."""
    places, steps, factors = room.places[device], table.steps[device], room.factors[device]
    first, tall = 2 * places[1], places[3]
    dim, doubled = table.rows.shape[1], factors.shape[1]
    scale, squares = np.float32(table.scales[device]), 0
    for slot in range(places[4]):
        item = room.items[device, slot]
        squares += row_units(
            table.rows, item * dim, dim, factors, slot * doubled, doubled, 1,
            steps, 0, dim, 2 * tall, dim,
        )  # fmt: skip
        total = _ZERO
        for window in range(places[2]):
            total += factors[slot, window]
        level = np.int32(total * scale)
        table.levels[item] += level
        squares += int(level) * int(level)
    for feature in range(len(table.content)):
        for row in range(tall):
            table.content[feature, row] = room.vectors[first + tall + row, dim + feature]
            table.content[feature, tall + row] = room.vectors[first + row, dim + feature]
        squares += row_units(
            table.rows, (len(table.levels) + feature) * dim, dim,
            table.content, feature * doubled, doubled, 1, steps, 0, dim, 2 * tall, dim,
        )  # fmt: skip
    table.squares[device] += squares


@inner
def turn_round(device: int, table: Table) -> None:
    """Negate a device's steps: what it adds with them takes out what it added, exactly."""
    steps = table.steps[device]
    for row in range(steps.shape[0]):
        for column in range(steps.shape[1]):
            steps[row, column] = -steps[row, column]
    table.scales[device] = -table.scales[device]
