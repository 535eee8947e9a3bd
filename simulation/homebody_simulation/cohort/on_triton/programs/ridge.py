"""Updates of rank one of ``MatrixFactorization``, once the user vectors are solved for, on a GPU.

A device's update of the table is the outer product of a, one number an item, and its user vector;
that of the bias is the bias less the device's distinct items over their norm. Both in float64.
"""

import triton
import triton.language as tl

from homebody_simulation.cohort.on_triton.programs.lattice import units


@triton.jit
def fit(
    scores,
    errors,
    chosen,
    targets,
    norms,
    bias,
    items,
    weights,
    lengths,
    users,
    constants,
    n_items,
    stride,
    dim,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
    DIM: tl.constexpr,
):
    """Write what a device's scores are wrong by, which items it chose, and the norm of its update.

    Grid: (devices,).

    Args:
        scores: float32 ``(n, stride)``.
        errors: float64 ``(n, stride)``, written: a.
        chosen: uint8 ``(n, stride)``, zeros; 1 is written at the items of the window.
        targets: float64 ``(n,)``, written: one over the root of how many they are.
        norms: float64 ``(n,)``, written; 0 for a device without history.
        bias: float32 ``(n_items,)``.
        items: int32 ``(n, WINDOW)``, the window of each device, then anything.
        weights: float64 ``(n, WINDOW)``, the weight of each event, then zeros.
        lengths: int32 ``(n,)``, events of each window.
        users: float64 ``(n, dim)``.
        constants: float64 ``(1,)``: weight of an unseen item's squared score.
        n_items: Items of the catalog.
        stride: Distance of two rows of ``scores``, ``errors`` and ``chosen``.
        dim: Dimensions.
        WINDOW: Power of two.
        BLOCK: Items at once, a power of two.
        DIM: Power of two, at least ``dim``.
    """
    device = tl.program_id(0).to(tl.int64)
    length = tl.load(lengths + device)
    if length == 0:
        tl.store(norms + device, tl.zeros((), tl.float64))
        tl.store(targets + device, tl.zeros((), tl.float64))
    else:
        unseen = tl.load(constants)
        slot = tl.arange(0, WINDOW)
        there = slot < length
        item = tl.load(items + device * WINDOW + slot, mask=there, other=0)
        weight = tl.load(weights + device * WINDOW + slot, mask=there, other=0.0)
        same = (item[:, None] == item[None, :]) & there[None, :]
        together = tl.sum(tl.where(same, weight[None, :], 0.0), 1)  # chosen twice adds up
        earlier = tl.sum((same & (slot[None, :] < slot[:, None])).to(tl.int32), 1)
        first = there & (earlier == 0)
        target = 1.0 / tl.sqrt(tl.sum(first.to(tl.float64), 0))
        scale = 2.0 / tl.sum(weight, 0)
        row = device * stride
        for start in range(0, n_items, BLOCK):
            index = start + tl.arange(0, BLOCK)
            inside = index < n_items
            score = tl.load(scores + row + index, mask=inside, other=0.0).to(tl.float64)
            tl.store(errors + row + index, scale * (unseen * score), mask=inside)
        tl.debug_barrier()  # all rows are written before some are written over
        own = tl.load(scores + row + item, mask=first, other=0.0).to(tl.float64)
        error = scale * (unseen * own + together * (own - 1.0))
        tl.store(errors + row + item, error, mask=first)
        tl.store(chosen + row + item, tl.full((WINDOW,), 1, tl.uint8), mask=first)
        tl.debug_barrier()  # what was written over is there to be read
        squares = tl.zeros((BLOCK,), tl.float64)
        levels = tl.zeros((BLOCK,), tl.float64)
        for start in range(0, n_items, BLOCK):
            index = start + tl.arange(0, BLOCK)
            inside = index < n_items
            value = tl.load(errors + row + index, mask=inside, other=0.0)
            squares += value * value
            mark = tl.load(chosen + row + index, mask=inside, other=0)
            level = tl.load(bias + index, mask=inside, other=0.0).to(tl.float64)
            level -= tl.where(mark == 1, target, 0.0)
            levels += level * level
        column = tl.arange(0, DIM)
        user = tl.load(users + device * dim + column, mask=column < dim, other=0.0)
        squared = tl.sum(squares, 0) * tl.sum(user * user, 0) + tl.sum(levels, 0)
        tl.store(norms + device, tl.sqrt(squared))
        tl.store(targets + device, target)


# Not specialized: what differs from round to round would be compiled in the middle of a run.
@triton.jit(do_not_specialize=["devices", "chunk"])
def add_outer(
    errors,
    chosen,
    targets,
    users,
    bias,
    factors,
    total,
    squares,
    devices,
    chunk,
    n_items,
    stride,
    dim,
    total_stride,
    ITEMS: tl.constexpr,
    DIM: tl.constexpr,
):
    """Add trunc(factor * update) of each device of a chunk to a table of int64.

    Grid: (tiles of items, chunks of devices). Arguments as in ``fit`` and
    ``lattice.add_products``; ``squares`` is float64 ``(devices, tiles of items)``.
    """
    item = tl.program_id(0) * ITEMS + tl.arange(0, ITEMS)
    inside = item < n_items
    column = tl.arange(0, DIM)
    level = tl.load(bias + item, mask=inside, other=0.0).to(tl.float64)
    first = tl.program_id(1) * chunk
    added = tl.zeros((ITEMS, DIM), tl.int32)
    added_bias = tl.zeros((ITEMS,), tl.int32)
    for device in range(first, tl.minimum(first + chunk, devices)):
        factor = tl.load(factors + device)
        row = tl.cast(device, tl.int64) * stride
        error = tl.load(errors + row + item, mask=inside, other=0.0)
        mark = tl.load(chosen + row + item, mask=inside, other=0)
        own = tl.cast(device, tl.int64) * dim + column
        user = tl.load(users + own, mask=column < dim, other=0.0)
        integers = units(error[:, None] * user[None, :], factor)
        added += integers
        exact = integers.to(tl.float64)
        square = tl.sum(tl.sum(exact * exact, 1), 0)
        change = level - tl.where(mark == 1, tl.load(targets + device), 0.0)
        steps = units(change, factor)
        added_bias += steps
        square += tl.sum(steps.to(tl.float64) * steps.to(tl.float64), 0)
        place = tl.cast(device, tl.int64) * tl.num_programs(0) + tl.program_id(0)
        tl.store(squares + place, square)
    table = total + tl.program_id(1).to(tl.int64) * total_stride
    tl.atomic_add(
        table + item[:, None].to(tl.int64) * dim + column[None, :],
        added.to(tl.int64),
        mask=inside[:, None] & (column < dim)[None, :],
        sem="relaxed",
    )
    place = tl.cast(n_items, tl.int64) * dim + item
    tl.atomic_add(table + place, added_bias.to(tl.int64), mask=inside, sem="relaxed")
