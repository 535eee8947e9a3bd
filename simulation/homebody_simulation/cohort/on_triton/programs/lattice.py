"""Put what devices would change on the lattice and add it up, for updates of the form A^T B.

A device's update of a table is the product of a few rows of A, one coordinate an item, and as many
rows of B, one coordinate a dimension. Truncation is per coordinate of the whole device, so the sum
over devices is no matrix product: a program owns a tile of the table and goes through devices.
"""

import triton
import triton.language as tl


@triton.jit
def units(values, factor):
    """Return float64 values times ``factor``, truncated toward zero; 0 where ``factor`` is.

    A factor of 0 is that of a device without a finite update, whose values may be no numbers.
    """
    scaled = tl.where(factor == 0.0, 0.0, values * factor)
    return scaled.to(tl.int32)


# Not specialized: what differs from round to round would be compiled in the middle of a run.
@triton.jit(do_not_specialize=["devices", "chunk"])
def add_products(
    left,
    right,
    factors,
    total,
    squares,
    devices,
    chunk,
    items,
    dim,
    second_left,
    second_right,
    left_stride,
    right_stride,
    total_stride,
    bias_offset,
    PADDED: tl.constexpr,
    DEPTH: tl.constexpr,
    ITEMS: tl.constexpr,
    DIM: tl.constexpr,
    BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add trunc(factor * A^T B) of each device of a chunk to a table of int64.

    Grid: (tiles of items, chunks of devices, tiles of dimensions). Row r of a device's A is at
    ``left + (device * PADDED + r) * left_stride`` for r < PADDED, and for the next PADDED rows
    ``second_left`` further; B likewise with ``right``.

    Args:
        left: float32, A.
        right: float32, B.
        factors: float64 ``(devices,)``: minus clip factor times lattice scale; 0 adds nothing.
        total: int64, added to: ``total_stride`` further for each chunk.
        squares: float64 ``(devices, tiles of items, tiles of dimensions)``, written: sum of the
            squares of the integers, exact because it is below 2**53.
        devices: Number of devices.
        chunk: Devices of a chunk; chunk * 2**bits must be below 2**31.
        items: Coordinates of A.
        dim: Coordinates of B.
        second_left: Distance to the other PADDED rows of A; may be negative.
        second_right: Distance to the other PADDED rows of B; may be negative.
        left_stride: Distance of two rows of A.
        right_stride: Distance of two rows of B.
        total_stride: Distance of the tables of two chunks; 0 for one table.
        bias_offset: Where the sums of the first PADDED rows of A are added, if BIAS.
        PADDED: Rows of a device in each half, a power of two.
        DEPTH: Rows in all, at least 16 and 2 * PADDED, a power of two.
        ITEMS: Items of a tile.
        DIM: Dimensions of a tile.
        BIAS: Whether there is a bias.
        PRECISION: Of the products.
    """
    item = tl.program_id(0) * ITEMS + tl.arange(0, ITEMS)
    column = tl.program_id(2) * DIM + tl.arange(0, DIM)
    lane = tl.arange(0, DEPTH)
    half = lane // PADDED
    there = lane < 2 * PADDED
    own = there & (half == 0)
    left_lane = (lane % PADDED).to(tl.int64) * left_stride + tl.where(half == 1, second_left, 0)
    right_lane = (lane % PADDED).to(tl.int64) * right_stride + tl.where(half == 1, second_right, 0)
    with_bias = BIAS and tl.program_id(2) == 0
    first = tl.program_id(1) * chunk
    added = tl.zeros((ITEMS, DIM), tl.int32)
    added_bias = tl.zeros((ITEMS,), tl.int32)
    for device in range(first, tl.minimum(first + chunk, devices)):
        factor = tl.load(factors + device)
        row = tl.cast(device, tl.int64) * PADDED
        a = tl.load(
            left + row * left_stride + left_lane[:, None] + item[None, :],
            mask=there[:, None] & (item < items)[None, :],
            other=0.0,
        )
        b = tl.load(
            right + row * right_stride + right_lane[:, None] + column[None, :],
            mask=there[:, None] & (column < dim)[None, :],
            other=0.0,
        )
        product = tl.dot(tl.trans(a), b, input_precision=PRECISION)
        integers = units(product.to(tl.float64), factor)
        added += integers
        exact = integers.to(tl.float64)
        square = tl.sum(tl.sum(exact * exact, 1), 0)
        if with_bias:
            column_sum = tl.sum(tl.where(own[:, None], a, 0.0), 0)
            levels = units(column_sum.to(tl.float64), factor)
            added_bias += levels
            square += tl.sum(levels.to(tl.float64) * levels.to(tl.float64), 0)
        tile = tl.cast(device, tl.int64) * tl.num_programs(0) + tl.program_id(0)
        tl.store(squares + tile * tl.num_programs(2) + tl.program_id(2), square)
    table = total + tl.program_id(1).to(tl.int64) * total_stride
    tl.atomic_add(
        table + item[:, None].to(tl.int64) * dim + column[None, :],
        added.to(tl.int64),
        mask=(item < items)[:, None] & (column < dim)[None, :],
        sem="relaxed",
    )
    if with_bias:
        tl.atomic_add(
            table + bias_offset + item, added_bias.to(tl.int64), mask=item < items, sem="relaxed"
        )
