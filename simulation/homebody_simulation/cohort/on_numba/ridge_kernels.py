"""Compiled steps of ``RidgeKernel``: solve for a user vector, bound a gradient of rank one, add it.

One device's arithmetic is done in one order, whoever stands beside it: no library is called whose
rounding depends on the size of a block. What is out of the ordinary (a system that is nearly
singular, a number that is none or nearly) is not done here; it is left to the one-device path.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from homebody_models.history import SLOTS
from homebody_simulation.cohort.compiled import REASSOCIATED, inner_fast

Integers = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]

BLOCK: Final = 16
"""Devices solved for before their gradients are added: a tile of the sum is fetched once."""

AGAIN: Final = 255
"""Status of a device that is left to the one-device path."""

_TILE: Final = 128  # rows of the sum that stay in the fastest memory
_LINE: Final = 8  # numbers worked on at once; SLOTS is a multiple
_LEAST: Final = 0.5  # of a pivot, which is at least 1 but for rounding
_MOST: Final = 1e9  # of a pivot, beyond which half its digits are lost
_LARGE: Final = 1e30  # no score may come near what float32 holds
_SMALL_NORM: Final = 1e-100  # its square is a number still
_LARGE_NORM: Final = 1e100  # likewise


class Shared(NamedTuple):
    """What all devices of a round work with; made once a broadcast.

    Attributes:
        table: Item table, float32 of shape ``(items, dim)``.
        bias: Item bias, float64 of shape ``(items,)``.
        solved: The table times the inverse of unseen_weight Q^T Q + ridge, ``(items, dim)``.
        decays: Weight of an event by its age, as many as the window holds.
        roots: Their square roots.
        unseen: Weight of each item's squared score.
        peak: Largest size of an entry of ``table``.
        clip, scale, squares: Those of ``Bounds``.
        most: Devices whose sum fits in 32 bits, at least ``BLOCK``.
    """

    table: npt.NDArray[np.float32]
    bias: Vector
    solved: Vector
    decays: Vector
    roots: Vector
    unseen: float
    peak: float
    clip: float
    scale: float
    squares: float
    most: int


class Room(NamedTuple):
    """What one thread works in.

    Attributes:
        users: User vector of each device of a block, ``(BLOCK, dim)``.
        pulls: What each device's gradient takes of its user vector by item, ``(BLOCK, items)``.
        lifts: Its gradient by the bias, likewise.
        held: Squares of its integers; negative for a device that adds nothing, as between blocks.
        system: ``(SLOTS, SLOTS)``.
        known: ``(SLOTS,)``.
        short: A user vector in float32, ``(dim,)``.
        sums: Sum of integers by the table, int32 of shape ``(items, dim)``.
        levels: By the bias, int32 of shape ``(items,)``.
    """

    users: Vector
    pulls: Vector
    lifts: Vector
    held: Vector
    system: Vector
    known: Vector
    short: npt.NDArray[np.float32]
    sums: npt.NDArray[np.int32]
    levels: npt.NDArray[np.int32]


def room(items: int, dim: int) -> Room:
    """Return room for one thread, its sums at zero."""
    return Room(
        users=np.empty((BLOCK, dim)),
        pulls=np.empty((BLOCK, items)),
        lifts=np.empty((BLOCK, items)),
        held=np.full(BLOCK, -1.0),
        system=np.empty((SLOTS, SLOTS)),
        known=np.empty(SLOTS),
        short=np.empty(dim, np.float32),
        sums=np.zeros((items, dim), np.int32),
        levels=np.zeros(items, np.int32),
    )


@njit(nogil=True, cache=True, fastmath=REASSOCIATED)
def train(
    ptr: Integers,
    items: npt.NDArray[np.int32],
    rows: Integers,
    places: Integers,
    shared: Shared,
    room: Room,
    total: Integers,
    norms: Vector,
    status: npt.NDArray[np.uint8],
) -> None:
    """Add the contributions of ``rows`` to ``total``, and say at ``places`` what became of each.

    Args:
        ptr: int64 of shape ``(devices + 1,)``.
        items: int32 of shape ``(events,)``.
        rows: Devices, shape ``(n,)``.
        places: Where in ``norms`` and ``status`` each of them stands.
        shared: What they all work with.
        room: This thread's own.
        total: int64 of shape ``(items * dim + items,)``.
        norms: L2 norm of each update.
        status: ``Status`` of each, or ``AGAIN``.
    """
    summed = 0
    for start in range(0, len(rows), BLOCK):
        lanes = min(BLOCK, len(rows) - start)
        for lane in range(lanes):
            row, place = rows[start + lane], places[start + lane]
            first = max(ptr[row], ptr[row + 1] - len(shared.decays))
            own = items[first : ptr[row + 1]]
            norm = _update(own, shared, room, lane) if len(own) else 0.0
            status[place] = 1 if len(own) == 0 else 0 if norm >= 0.0 else AGAIN
            norms[place] = norm
        for again in range(2):
            _add(room, lanes)
            beyond = _turn_back(room, lanes, shared.squares, places[start : start + lanes], status)
            if again or not beyond:
                break
        for lane in range(lanes):
            room.held[lane] = -1.0
        summed += BLOCK
        if summed + BLOCK > shared.most or start + lanes == len(rows):
            _empty(room.sums, room.levels, total)
            summed = 0


@inner_fast
def _update(own: npt.NDArray[np.int32], shared: Shared, room: Room, lane: int) -> float:
    """Write a device's update, in lattice units before truncation; return its norm, or NaN."""
    _assemble(own, shared, room.system, room.known)
    if not _solve(room.system, room.known, len(own)):
        return np.nan
    user, pull, lift = room.users[lane], room.pulls[lane], room.lifts[lane]
    _combine(own, shared, room.known, user)
    norm = _gradient(own, shared, user, room.short, pull, lift)
    if not _SMALL_NORM < norm < _LARGE_NORM:
        return np.nan
    factor = -shared.scale if norm <= shared.clip else -shared.clip / norm * shared.scale
    for item in range(len(pull)):
        pull[item] *= factor
        lift[item] *= factor
    room.held[lane] = 0.0
    return norm


@inner_fast
def _assemble(own: npt.NDArray[np.int32], shared: Shared, system: Vector, known: Vector) -> None:
    """Write the system of a device in the space of its events.

    With B what all systems share, s the roots of the weights and Y = Q B^-1, the user vector is
    sum_j s_j c_j y_j where (1 + s_j s_k q_j.y_k) c = s. That matrix is the identity and something
    positive, so that its pivots are at least 1.
    """
    n = len(own)
    for i in range(n):
        root, row = shared.roots[n - 1 - i], shared.table[own[i]]
        for j in range((n + _LINE - 1) // _LINE * _LINE):
            system[i, j] = 0.0
        for j in range(i, n):
            other, product = shared.solved[own[j]], 0.0
            for k in range(len(row)):
                product += row[k] * other[k]
            system[i, j] = root * shared.roots[n - 1 - j] * product
        system[i, i] += 1.0
        known[i] = root


@inner_fast
def _solve(system: Vector, known: Vector, n: int) -> bool:
    """Solve in place by Cholesky on the upper triangle; False where numbers are out of range.

    What is below the diagonal is worked on in whole lines, and never read.
    """
    wide = (n + _LINE - 1) // _LINE * _LINE
    for i in range(n):
        if not _LEAST <= system[i, i] <= _MOST:  # false for NaN too
            return False
        inverse = 1.0 / np.sqrt(system[i, i])
        known[i] *= inverse
        for k in range(i, n):
            system[i, k] *= inverse
        for j in range(i + 1, n):
            share = system[i, j]
            known[j] -= share * known[i]
            for line in range(j // _LINE * _LINE, wide, _LINE):
                for k in range(line, line + _LINE):
                    system[j, k] -= share * system[i, k]
    for i in range(n - 1, -1, -1):
        left = known[i]
        for j in range(i + 1, n):
            left -= system[i, j] * known[j]
        known[i] = left / system[i, i]
    return True


@inner_fast
def _combine(own: npt.NDArray[np.int32], shared: Shared, known: Vector, user: Vector) -> None:
    """Write the user vector of a solution."""
    for k in range(len(user)):
        user[k] = 0.0
    for i in range(len(own)):
        share, row = known[i] * shared.roots[len(own) - 1 - i], shared.solved[own[i]]
        for k in range(len(user)):
            user[k] += share * row[k]


@inner_fast
def _gradient(
    own: npt.NDArray[np.int32],
    shared: Shared,
    user: Vector,
    short: npt.NDArray[np.float32],
    pull: Vector,
    lift: Vector,
) -> float:
    """Write the gradient, outer(pull, user) by the table and lift by the bias; return its norm.

    The norm is NaN where a score could be too large for float32.
    """
    n, table, length, square = len(own), shared.table, 0.0, 0.0
    for k in range(len(user)):
        short[k] = user[k]
        length += abs(user[k])
        square += user[k] * user[k]
    if not length * shared.peak < _LARGE:
        return np.nan
    for item in range(len(table)):
        lift[item] = shared.bias[item]
        pull[item] = shared.unseen * _score(table[item], short) if shared.unseen > 0.0 else 0.0
    weights, number = 0.0, 0
    for slot in range(n):
        weight, known = shared.decays[n - 1 - slot], 0
        pull[own[slot]] += weight * (np.float64(_score(table[own[slot]], short)) - 1.0)
        weights += weight
        for other in range(slot):
            known += own[other] == own[slot]
        number += known == 0
    for slot in range(n):
        lift[own[slot]] = shared.bias[own[slot]] - 1.0 / np.sqrt(number)
    pulled, lifted = 0.0, 0.0
    for item in range(len(table)):
        pull[item] *= 2.0 / weights
        pulled += pull[item] * pull[item]
        lifted += lift[item] * lift[item]
    return float(np.sqrt(pulled * square + lifted))


@inner_fast
def _score(row: npt.NDArray[np.float32], user: npt.NDArray[np.float32]) -> np.float32:
    """Return a score in float32, as the model does."""
    score = np.float32(0.0)
    for k in range(len(user)):
        score += row[k] * user[k]
    return score


@inner_fast
def _add(room: Room, lanes: int) -> None:
    """Truncate the contributions of a block, add them, and count their squares.

    The squares are whole numbers whose sum is below 2**53: their order does not change it.
    """
    n_items, dim = room.sums.shape
    for first in range(0, n_items, _TILE):
        for lane in range(lanes):
            if room.held[lane] < 0.0:
                continue
            user, squares = room.users[lane], 0.0
            for item in range(first, min(first + _TILE, n_items)):
                pull, row = room.pulls[lane, item], room.sums[item]
                level = np.trunc(room.lifts[lane, item])
                room.levels[item] += np.int32(level)
                squares += level * level
                if pull != 0.0:
                    for k in range(dim):
                        value = np.trunc(pull * user[k])
                        row[k] += np.int32(value)
                        squares += value * value
            room.held[lane] += squares


@inner_fast
def _turn_back(
    room: Room, lanes: int, squares: float, places: Integers, status: npt.NDArray[np.uint8]
) -> bool:
    """Negate the contributions that are beyond the bound: added once more, they are gone."""
    beyond = False
    for lane in range(lanes):
        passed = room.held[lane] > squares
        room.held[lane] = 0.0 if passed else -1.0
        if passed:
            beyond, status[places[lane]] = True, AGAIN
            for item in range(len(room.levels)):
                room.pulls[lane, item] = -room.pulls[lane, item]
                room.lifts[lane, item] = -room.lifts[lane, item]
    return beyond


@inner_fast
def _empty(sums: npt.NDArray[np.int32], levels: npt.NDArray[np.int32], total: Integers) -> None:
    """Add the sums in 32 bits to those in 64 and start them again."""
    n_items, dim = sums.shape
    for item in range(n_items):
        for k in range(dim):
            total[item * dim + k] += sums[item, k]
            sums[item, k] = 0
        total[n_items * dim + item] += levels[item]
        levels[item] = 0
