"""The steps of a ``CoreTower`` gradient that are its own: what is hidden, and the packed core.

Rows are the cuts of devices, as in ``programs.tower``. With u the user vector of a cut and q what
comes back from its softmax, already over the cuts, a device's gradient is half the sharpness times
the sum of u q^T + q u^T; it is made tile by tile in float64, packed so that norms are kept, and
never stored.
"""

import triton
import triton.language as tl

from homebody_simulation.cohort.on_triton.programs.lattice import units


@triton.jit
def hide(
    scores,
    items_of,
    starts,
    positions,
    cuts_of,
    stride,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Put what was chosen before each cut out of the softmax; its target stays in.

    Grid: (rows,).

    Args:
        scores: float32 ``(rows, stride)``, written.
        items_of: int32, histories back to back.
        starts: int64 ``(n,)``, where each device's history starts.
        positions: int32 ``(n, PADDED)``, positions to predict.
        cuts_of: int32 ``(n,)``, how many there are.
        stride: Distance of two rows of scores.
        PADDED: Rows of a device.
        BLOCK: Events at once, a power of two.
    """
    row = tl.program_id(0).to(tl.int64)
    device = row // PADDED
    if row % PADDED < tl.load(cuts_of + device):
        cut = tl.load(positions + row)
        history = items_of + tl.load(starts + device)
        own = scores + row * stride
        target = tl.load(history + cut)
        kept = tl.load(own + target)
        tl.debug_barrier()  # read before it is written over
        for start in range(0, cut, BLOCK):
            event = start + tl.arange(0, BLOCK)
            item = tl.load(history + event, mask=event < cut, other=0)
            lowest = tl.full((BLOCK,), float("-inf"), tl.float32)
            tl.store(own + item, lowest, mask=event < cut)
        tl.debug_barrier()
        tl.store(own + target, kept)


@triton.jit
def packed_tile(users, backs, first, cuts, row, column, dim, half, TILE: tl.constexpr):
    """Return a tile of a device's packed gradient in float64, 0 outside the packed triangle.

    Args:
        users: float32 ``(rows, dim)``, the user vector of each cut.
        backs: float32 ``(rows, dim)``, what comes back from its softmax.
        first: First row of the device.
        cuts: How many it has.
        row: Rows of the tile, ``(TILE,)``.
        column: Columns of the tile, ``(TILE,)``.
        dim: Dimensions.
        half: Half the sharpness, float64.
        TILE: Rows and columns of a tile.
    """
    total = tl.zeros((TILE, TILE), tl.float64)
    for cut in range(cuts):
        place = (first + cut) * dim
        u = tl.load(users + place + row, mask=row < dim, other=0.0).to(tl.float64)
        q = tl.load(backs + place + row, mask=row < dim, other=0.0).to(tl.float64)
        us = tl.load(users + place + column, mask=column < dim, other=0.0).to(tl.float64)
        qs = tl.load(backs + place + column, mask=column < dim, other=0.0).to(tl.float64)
        total += u[:, None] * qs[None, :] + q[:, None] * us[None, :]
    twice = tl.full((TILE, TILE), 2.0, tl.float64)  # an entry that stands for two counts as both
    weight = tl.where(row[:, None] == column[None, :], 1.0, tl.sqrt(twice))
    inside = (row[:, None] <= column[None, :]) & (column < dim)[None, :]
    return tl.where(inside, total * half * weight, 0.0)


@triton.jit
def measure(users, backs, cuts_of, norms, constants, dim, PADDED: tl.constexpr, TILE: tl.constexpr):
    """Write the norm of each device's gradient.

    Grid: (devices,).

    Args:
        users: float32 ``(rows, dim)``.
        backs: float32 ``(rows, dim)``.
        cuts_of: int32 ``(n,)``, cuts of each device.
        norms: float64 ``(n,)``, written; 0 for a device without cuts.
        constants: float64 ``(1,)``: half the sharpness.
        dim: Dimensions.
        PADDED: Rows of a device.
        TILE: Rows and columns of a tile, a power of two.
    """
    device = tl.program_id(0).to(tl.int64)
    cuts = tl.load(cuts_of + device)
    half = tl.load(constants)
    square = tl.zeros((), tl.float64)
    for top in range(0, dim, TILE):
        for left in range(top, dim, TILE):
            row, column = top + tl.arange(0, TILE), left + tl.arange(0, TILE)
            tile = packed_tile(users, backs, device * PADDED, cuts, row, column, dim, half, TILE)
            square += tl.sum(tl.sum(tile * tile, 1), 0)
    tl.store(norms + device, tl.sqrt(square))


# Not specialized: what differs from round to round would be compiled in the middle of a run.
@triton.jit(do_not_specialize=["devices", "chunk"])
def add_core(
    users,
    backs,
    cuts_of,
    factors,
    constants,
    total,
    squares,
    devices,
    chunk,
    dim,
    total_stride,
    PADDED: tl.constexpr,
    TILE: tl.constexpr,
):
    """Add trunc(factor * gradient) of each device of a chunk to a table of int64.

    Grid: (tiles of rows, tiles of columns, chunks of devices); tiles below the diagonal do nothing.
    Arguments as in ``measure`` and ``lattice.add_products``; ``squares`` is float64 ``(devices,
    tiles of rows, tiles of columns)``, zeros.
    """
    if tl.program_id(0) <= tl.program_id(1):
        row = tl.program_id(0) * TILE + tl.arange(0, TILE)
        column = tl.program_id(1) * TILE + tl.arange(0, TILE)
        half = tl.load(constants)
        first = tl.program_id(2) * chunk
        added = tl.zeros((TILE, TILE), tl.int32)
        for device in range(first, tl.minimum(first + chunk, devices)):
            own = tl.cast(device, tl.int64)
            cuts = tl.load(cuts_of + device)
            tile = packed_tile(users, backs, own * PADDED, cuts, row, column, dim, half, TILE)
            integers = units(tile, tl.load(factors + device))
            added += integers
            exact = integers.to(tl.float64)
            place = (own * tl.num_programs(0) + tl.program_id(0)) * tl.num_programs(1)
            tl.store(squares + place + tl.program_id(1), tl.sum(tl.sum(exact * exact, 1), 0))
        table = total + tl.program_id(2).to(tl.int64) * total_stride
        packed = (
            row * dim - row * (row - 1) // 2 - row
        )  # where the row would start, less its number
        tl.atomic_add(
            table + packed[:, None] + column[None, :],
            added.to(tl.int64),
            mask=(row[:, None] <= column[None, :]) & (column < dim)[None, :],
            sem="relaxed",
        )
