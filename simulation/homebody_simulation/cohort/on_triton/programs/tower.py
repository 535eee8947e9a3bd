"""The steps of a two-tower gradient on a GPU: histories, scores, softmax, products, norms.

Rows are the cuts of devices: device u owns rows ``u * PADDED`` to ``u * PADDED + PADDED``, of which
the first ``cuts_of[u]`` are in use and the others hold zeros. A row's numbers do not depend on the
rows beside it.
"""

import triton
import triton.language as tl


@triton.jit
def read_windows(
    items,
    starts,
    positions,
    cuts_of,
    shares,
    matrix,
    x,
    means,
    columns,
    history_max,
    x_stride,
    PADDED: tl.constexpr,
    WINDOW: tl.constexpr,
    COLUMNS: tl.constexpr,
    WEIGHTS: tl.constexpr,
):
    """Write the recency weights of each row, and the weighted mean of a matrix's rows.

    Grid: (rows, tiles of columns).

    Args:
        items: int32, histories back to back.
        starts: int64 ``(n,)``, where each device's history starts.
        positions: int32 ``(n, PADDED)``, positions to predict.
        cuts_of: int32 ``(n,)``, how many there are.
        shares: float32 ``(WINDOW + 1, WINDOW)``: weight by length of the window and age.
        matrix: float32 ``(items, columns)``.
        x: float32 ``(rows, x_stride)``, zeros; written at the items of the window if WEIGHTS.
        means: float32 ``(rows, columns)``, written.
        columns: Columns of the matrix.
        history_max: Most events of a window.
        x_stride: Distance of two rows of ``x``.
        PADDED: Rows of a device.
        WINDOW: Power of two, at least ``history_max``.
        COLUMNS: Columns of a tile.
        WEIGHTS: Whether the weights themselves are wanted.
    """
    row = tl.program_id(0).to(tl.int64)
    device = row // PADDED
    live = row % PADDED < tl.load(cuts_of + device)
    cut = tl.load(positions + row, mask=live, other=0)
    length = tl.minimum(cut, history_max)
    slot = tl.arange(0, WINDOW)
    there = slot < length
    first = tl.load(starts + device) + cut - length
    item = tl.load(items + first + slot, mask=there, other=0)
    share = tl.load(shares + length * WINDOW + length - 1 - slot, mask=there, other=0.0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    tile = tl.load(
        matrix + item[:, None].to(tl.int64) * columns + column[None, :],
        mask=there[:, None] & (column < columns)[None, :],
        other=0.0,
    )
    mean = tl.sum(share[:, None] * tile, 0)
    tl.store(means + row * columns + column, mean, mask=column < columns)
    if WEIGHTS and tl.program_id(1) == 0:
        same = (item[:, None] == item[None, :]) & there[None, :]
        weight = tl.sum(tl.where(same, share[None, :], 0.0), 1)  # an item chosen twice adds up
        earlier = tl.sum((same & (slot[None, :] < slot[:, None])).to(tl.int32), 1)
        tl.store(x + row * x_stride + item, weight, mask=there & (earlier == 0))


@triton.jit(do_not_specialize=["rows"])  # it differs from round to round
def score(
    users,
    matrix,
    bias,
    x,
    scores,
    rows,
    items,
    dim,
    columns,
    stride,
    repeat,
    ROWS: tl.constexpr,
    ITEMS: tl.constexpr,
    DIM: tl.constexpr,
    REPEAT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write users times items, plus bias, plus ``repeat`` times the recency weights.

    Grid: (tiles of rows, tiles of items). ``users`` and ``matrix`` have ``columns`` columns, of
    which the first ``dim`` are used; ``x`` and ``scores`` have rows ``stride`` apart.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    item = tl.program_id(1) * ITEMS + tl.arange(0, ITEMS)
    total = tl.zeros((ROWS, ITEMS), tl.float32)
    for start in range(0, dim, DIM):
        column = start + tl.arange(0, DIM)
        user = tl.load(
            users + row[:, None] * columns + column[None, :],
            mask=(row < rows)[:, None] & (column < dim)[None, :],
            other=0.0,
        )
        table = tl.load(
            matrix + item[:, None].to(tl.int64) * columns + column[None, :],
            mask=(item < items)[:, None] & (column < dim)[None, :],
            other=0.0,
        )
        total = tl.dot(user, tl.trans(table), total, input_precision=PRECISION)
    total += tl.load(bias + item, mask=item < items, other=0.0)[None, :]
    place = row[:, None] * stride + item[None, :]
    inside = (row < rows)[:, None] & (item < items)[None, :]
    if REPEAT:
        total += repeat * tl.load(x + place, mask=inside, other=0.0)
    tl.store(scores + place, total, mask=inside)


@triton.jit
def residual(
    scores,
    items_of,
    starts,
    positions,
    cuts_of,
    items,
    stride,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Turn each row of scores into (softmax - target) / cuts, in place; unused rows into zeros.

    Grid: (rows,).
    """
    row = tl.program_id(0).to(tl.int64)
    device = row // PADDED
    cuts = tl.load(cuts_of + device)
    live = row % PADDED < cuts
    own = scores + row * stride
    if live:
        target = tl.load(items_of + tl.load(starts + device) + tl.load(positions + row))
        peaks = tl.full((BLOCK,), float("-inf"), tl.float32)
        for start in range(0, items, BLOCK):
            item = start + tl.arange(0, BLOCK)
            value = tl.load(own + item, mask=item < items, other=float("-inf"))
            peaks = tl.maximum(peaks, value)
        peak = tl.max(peaks, 0)
        total = tl.zeros((BLOCK,), tl.float64)
        for start in range(0, items, BLOCK):
            item = start + tl.arange(0, BLOCK)
            value = tl.load(own + item, mask=item < items, other=float("-inf"))
            total += tl.exp(value - peak).to(tl.float64)
        weight = tl.sum(total, 0).to(tl.float32)
        for start in range(0, items, BLOCK):
            item = start + tl.arange(0, BLOCK)
            value = tl.load(own + item, mask=item < items, other=0.0)
            share = tl.exp(value - peak) / weight - tl.where(item == target, 1.0, 0.0)
            tl.store(own + item, share / cuts.to(tl.float32), mask=item < items)
    else:
        for start in range(0, items, BLOCK):
            item = start + tl.arange(0, BLOCK)
            tl.store(own + item, tl.zeros((BLOCK,), tl.float32), mask=item < items)


@triton.jit(do_not_specialize=["rows"])  # it differs from round to round
def multiply(
    left,
    matrix,
    product,
    rows,
    items,
    columns,
    stride,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ITEMS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write ``left`` (rows, items) times ``matrix`` (items, columns).

    Grid: (tiles of rows, tiles of columns). Rows of ``left`` are ``stride`` apart.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, items, ITEMS):
        item = start + tl.arange(0, ITEMS)
        a = tl.load(
            left + row[:, None] * stride + item[None, :],
            mask=(row < rows)[:, None] & (item < items)[None, :],
            other=0.0,
        )
        b = tl.load(
            matrix + item[:, None].to(tl.int64) * columns + column[None, :],
            mask=(item < items)[:, None] & (column < columns)[None, :],
            other=0.0,
        )
        total = tl.dot(a, b, total, input_precision=PRECISION)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    tl.store(product + row[:, None] * columns + column[None, :], total, mask=inside)


@triton.jit(do_not_specialize=["plane_rx", "plane_hg"])  # they differ from round to round
def measure(
    rx,
    hg,
    cuts_of,
    norms,
    plane_rx,
    plane_hg,
    items,
    dim,
    columns,
    stride,
    PADDED: tl.constexpr,
    DEPTH: tl.constexpr,
    ITEMS: tl.constexpr,
    DIM: tl.constexpr,
    CONTENT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write the exact norm of each device's gradient without making it.

    Grid: (devices,). With A = [R; X] and B = [H; G] it is sum(A A^T * B B^T) for the table, plus
    the norm of the bias (column sums of R), plus that of the content weights, which are small and
    are made.

    Args:
        rx: float32, R and then X, rows ``stride`` apart, the two ``plane_rx`` apart.
        hg: float32, [H | XF] and then [G | RF], of ``columns`` columns, ``plane_hg`` apart.
        cuts_of: int32 ``(n,)``.
        norms: float64 ``(n,)``, written; 0 for a device without cuts.
        plane_rx: Distance of R and X.
        plane_hg: Distance of H and G.
        items: Items of the catalog.
        dim: Dimensions.
        columns: Dimensions and features.
        stride: Distance of two rows of R.
        PADDED: Rows of a device.
        DEPTH: At least 16 and 2 * PADDED, a power of two.
        ITEMS: Items of a tile.
        DIM: Dimensions of a tile.
        CONTENT: Whether there are content weights.
        PRECISION: Of the products.
    """
    device = tl.program_id(0).to(tl.int64)
    if tl.load(cuts_of + device) == 0:
        tl.store(norms + device, tl.zeros((), tl.float64))
    else:
        lane = tl.arange(0, DEPTH)
        half = (lane // PADDED).to(tl.int64)
        there = lane < 2 * PADDED
        row = device * PADDED + lane % PADDED
        a_lane = row * stride + half * plane_rx
        b_lane = row * columns + half * plane_hg
        gram = tl.zeros((DEPTH, DEPTH), tl.float64)
        bias = tl.zeros((ITEMS,), tl.float64)
        for start in range(0, items, ITEMS):
            item = start + tl.arange(0, ITEMS)
            a = tl.load(
                rx + a_lane[:, None] + item[None, :],
                mask=there[:, None] & (item < items)[None, :],
                other=0.0,
            )
            gram += tl.dot(a, tl.trans(a), input_precision=PRECISION).to(tl.float64)
            column_sum = tl.sum(tl.where((there & (half == 0))[:, None], a, 0.0), 0).to(tl.float64)
            bias += column_sum * column_sum
        other = tl.zeros((DEPTH, DEPTH), tl.float64)
        for start in range(0, dim, DIM):
            column = start + tl.arange(0, DIM)
            inside = there[:, None] & (column < dim)[None, :]
            b = tl.load(hg + b_lane[:, None] + column[None, :], mask=inside, other=0.0)
            other += tl.dot(b, tl.trans(b), input_precision=PRECISION).to(tl.float64)
        squared = tl.sum(tl.sum(gram * other, 1), 0) + tl.sum(bias, 0)
        if CONTENT:
            # Rows of [RF; XF] in the order of [H; G]: the planes of hg, swapped.
            f_lane = row * columns + (1 - half) * plane_hg
            for feature_start in range(dim, columns, DIM):
                feature = feature_start + tl.arange(0, DIM)
                inside = there[:, None] & (feature < columns)[None, :]
                f = tl.load(hg + f_lane[:, None] + feature[None, :], mask=inside, other=0.0)
                for start in range(0, dim, DIM):
                    column = start + tl.arange(0, DIM)
                    inside = there[:, None] & (column < dim)[None, :]
                    b = tl.load(hg + b_lane[:, None] + column[None, :], mask=inside, other=0.0)
                    w = tl.dot(tl.trans(f), b, input_precision=PRECISION).to(tl.float64)
                    squared += tl.sum(tl.sum(w * w, 1), 0)
        squared = tl.where(squared < 0.0, 0.0, squared)  # rounding; false for NaN
        tl.store(norms + device, tl.sqrt(squared))
