"""Which items of the head devices have close to each other, on a GPU, each device bounded.

Weights, norm, clip and truncation are float64, by operations that are rounded as IEEE 754 says and
in the order of ``gram_statistic`` and ``Lattice``. Only the order in which squares are added
differs from the one-device path: the margins of clip and lattice are far wider than that.
"""

import triton
import triton.language as tl


@triton.jit
def gather(items, place, steps, heads, last, events, EVENTS: tl.constexpr, BLOCK: tl.constexpr):
    """Write how far back the newest events on the head are, and where; return how many they are.

    Args:
        items: int32, histories back to back.
        place: int32 ``(n_items,)``, coordinate of each item in the head, -1 outside it.
        steps: int32 ``(EVENTS,)``, written.
        heads: int32 ``(EVENTS,)``, written.
        last: Where the newest event of the device is.
        events: Events of the device.
        EVENTS: Most events looked at.
        BLOCK: Events at once, a power of two.
    """
    kept = tl.zeros((), tl.int32)
    back = tl.zeros((), tl.int32)
    while (back < events) & (kept < EVENTS):
        step = back + tl.arange(0, BLOCK)
        there = step < events
        item = tl.load(items + last - step, mask=there, other=0)
        head = tl.load(place + item, mask=there, other=-1)
        on = (head >= 0).to(tl.int32)
        slot = kept + tl.cumsum(on, 0) - 1
        tl.store(steps + slot, step, mask=(on == 1) & (slot < EVENTS))
        tl.store(heads + slot, head, mask=(on == 1) & (slot < EVENTS))
        kept += tl.sum(on, 0)
        back += BLOCK
    tl.debug_barrier()  # written by some threads, read by others
    return tl.minimum(kept, EVENTS)


@triton.jit
def number_items(heads, chosen, ranks, which, kept, EVENTS: tl.constexpr, TILE: tl.constexpr):
    """Number the distinct items of a device; return how many they are.

    Args:
        heads: int32 ``(EVENTS,)``, where each event is on the head.
        chosen: int32 ``(EVENTS,)``, written: where each distinct item is.
        ranks: int32 ``(EVENTS,)``, written where an event is the first of its item.
        which: int32 ``(EVENTS,)``, written: number of the item of each event.
        kept: Events.
        EVENTS: Most of them, a power of two.
        TILE: Events compared with all at once, a power of two.
    """
    slot = tl.arange(0, EVENTS)
    there = slot < kept
    head = tl.load(heads + slot, mask=there, other=-1)
    earliest = tl.full((EVENTS,), EVENTS, tl.int32)
    for start in range(0, kept, TILE):
        other = start + tl.arange(0, TILE)
        theirs = tl.load(heads + other, mask=other < kept, other=-2)
        same = head[:, None] == theirs[None, :]
        earliest = tl.minimum(earliest, tl.min(tl.where(same, other[None, :], EVENTS), 1))
    first = there & (earliest == slot)
    rank = tl.cumsum(first.to(tl.int32), 0) - 1
    tl.store(chosen + rank, head, mask=first)
    tl.store(ranks + slot, rank, mask=first)
    tl.debug_barrier()
    tl.store(which + slot, tl.load(ranks + earliest, mask=there, other=0), mask=there)
    tl.debug_barrier()
    return tl.sum(first.to(tl.int32), 0)


@triton.jit
def measure(steps, which, closest, kept, distinct, EVENTS: tl.constexpr, TILE: tl.constexpr):
    """Write the least distance of each two different items, where some were chosen again.

    Args:
        steps: int32 ``(EVENTS,)``, how far back each event is, ascending.
        which: int32 ``(EVENTS,)``, number of its item.
        closest: int32 ``(EVENTS, EVENTS)``, written where a row is more than its column.
        kept: Events.
        distinct: Different items.
        EVENTS: Most events.
        TILE: Events of a side of a tile, a power of two.
    """
    block = tl.arange(0, EVENTS)
    for number in range(distinct):
        far = tl.full((EVENTS,), 0x7FFFFFFF, tl.int32)
        tl.store(closest + number * EVENTS + block, far, mask=block < number)
    tl.debug_barrier()
    for one in range(0, kept, TILE):
        row = one + tl.arange(0, TILE)
        older = tl.load(steps + row, mask=row < kept, other=0)
        mine = tl.load(which + row, mask=row < kept, other=0)
        for other in range(0, one + 1, TILE):
            column = other + tl.arange(0, TILE)
            newer = tl.load(steps + column, mask=column < kept, other=0)
            theirs = tl.load(which + column, mask=column < kept, other=0)
            high = tl.maximum(mine[:, None], theirs[None, :])
            low = tl.minimum(mine[:, None], theirs[None, :])
            pair = (row < kept)[:, None] & (column[None, :] < row[:, None]) & (high != low)
            distance = older[:, None] - newer[None, :]
            tl.atomic_min(closest + high * EVENTS + low, distance, mask=pair, sem="relaxed")
    tl.debug_barrier()


@triton.jit
def weigh(
    steps, closest, weights, one, other, distinct, kept, EVENTS: tl.constexpr, TILE: tl.constexpr
):
    """Return the weights of a tile of pairs of items, 0 where there is no pair.

    Args:
        steps: int32 ``(EVENTS,)``, how far back each event is: the distances if none is repeated.
        closest: int32 ``(EVENTS, EVENTS)``, the distances if some item is.
        weights: float64, the weight of a pair by its distance.
        one: First row of the tile.
        other: First column of the tile.
        distinct: Different items.
        kept: Events: more than items if some item was chosen again.
        EVENTS: Most events.
        TILE: Items of a side of the tile, a power of two.
    """
    row, column = one + tl.arange(0, TILE), other + tl.arange(0, TILE)
    pair = (row < distinct)[:, None] & (column[None, :] < row[:, None])
    older = tl.load(steps + row, mask=row < distinct, other=0)
    newer = tl.load(steps + column, mask=column < distinct, other=0)
    place = closest + row[:, None] * EVENTS + column[None, :]
    there = (row < tl.where(distinct < kept, distinct, 0))[:, None]  # else nothing was measured
    met = tl.load(place, mask=pair & there, other=0)
    distance = tl.where(distinct < kept, met, older[:, None] - newer[None, :])
    return tl.load(weights + distance, mask=pair, other=0.0)


@triton.jit
def to_lattice(weight, norm, peak, limit, scale):
    """Return the integers of weights: of norm 1, clipped, truncated; see ``clip_update``."""
    value = weight / norm
    value = tl.where(peak <= limit, value, value / peak * limit)
    return (value * scale).to(tl.int64)


@triton.jit(do_not_specialize=["devices"])  # they differ from one part of a population to the next
def add_pairs(
    items,
    starts,
    counts,
    place,
    weights,
    clips,
    constants,
    scratch,
    closest,
    total,
    devices,
    size,
    EVENTS: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add the integers of the pairs of devices to a packed matrix.

    Grid: (programs,); a program takes every so manyth device.

    Args:
        items: int32, histories back to back.
        starts: int64 ``(devices,)``, where each history starts.
        counts: int32 ``(devices,)``, its events.
        place: int32 ``(n_items,)``, coordinate of each item in the head, -1 outside it.
        weights: float64, the weight of a pair by its distance, as long as the longest history.
        clips: float64 ``(EVENTS + 1,)``: the norm pairs are scaled down to, by number of items.
        constants: float64 ``(2,)``: lattice units of a model unit, and the largest sum of squares.
        scratch: int32 ``(programs, 5, EVENTS)``.
        closest: int32 ``(programs, EVENTS, EVENTS)``.
        total: int64 ``(size * (size - 1) / 2,)``, added to.
        devices: Number of devices.
        size: Items of the head.
        EVENTS: Newest events on the head that count, a power of two.
        TILE: Items of a side of a tile of pairs, a power of two.
        BLOCK: Events looked at at once, a power of two.
    """
    program = tl.program_id(0).to(tl.int64)
    steps = scratch + program * 5 * EVENTS
    heads, chosen = steps + EVENTS, steps + 2 * EVENTS
    ranks, which = steps + 3 * EVENTS, steps + 4 * EVENTS
    near = closest + program * EVENTS * EVENTS
    scale = tl.load(constants)
    most = tl.load(constants + 1)
    for device in range(tl.program_id(0), devices, tl.num_programs(0)):
        events = tl.load(counts + device)
        last = tl.load(starts + device) + events - 1
        kept = gather(items, place, steps, heads, last, events, EVENTS, BLOCK)
        distinct = number_items(heads, chosen, ranks, which, kept, EVENTS, TILE)
        if (distinct < kept) & (distinct > 1):
            measure(steps, which, near, kept, distinct, EVENTS, TILE)
        square = tl.zeros((), tl.float64)
        peak = tl.zeros((), tl.float64)
        for one in range(0, distinct, TILE):
            for other in range(0, one + 1, TILE):
                weight = weigh(steps, near, weights, one, other, distinct, kept, EVENTS, TILE)
                square += tl.sum(tl.sum(weight * weight, 1), 0)
                peak = tl.maximum(peak, tl.max(tl.max(weight, 1), 0))
        norm = tl.sqrt(square)
        if norm > 0.0:  # fewer than two items, or further apart than a float reaches
            peak = peak / norm
            again = tl.zeros((), tl.float64)
            for one in range(0, distinct, TILE):
                for other in range(0, one + 1, TILE):
                    weight = weigh(steps, near, weights, one, other, distinct, kept, EVENTS, TILE)
                    unit = weight / norm / peak  # largest entry is 1
                    again += tl.sum(tl.sum(unit * unit, 1), 0)
            limit = tl.load(clips + distinct) / tl.sqrt(again)  # of the largest entry
            held = tl.zeros((), tl.int64)
            for one in range(0, distinct, TILE):
                for other in range(0, one + 1, TILE):
                    weight = weigh(steps, near, weights, one, other, distinct, kept, EVENTS, TILE)
                    level = to_lattice(weight, norm, peak, limit, scale)
                    held += tl.sum(tl.sum(level * level, 1), 0)
            if held.to(tl.float64) <= most:  # exact: both are below 2**53
                for one in range(0, distinct, TILE):
                    row = one + tl.arange(0, TILE)
                    mine = tl.load(chosen + row, mask=row < distinct, other=0).to(tl.int64)
                    for other in range(0, one + 1, TILE):
                        weight = weigh(
                            steps, near, weights, one, other, distinct, kept, EVENTS, TILE
                        )
                        level = to_lattice(weight, norm, peak, limit, scale)
                        column = other + tl.arange(0, TILE)
                        theirs = tl.load(chosen + column, mask=column < distinct, other=0)
                        low = tl.minimum(mine[:, None], theirs.to(tl.int64)[None, :])
                        high = tl.maximum(mine[:, None], theirs.to(tl.int64)[None, :])
                        # ``packed_place``
                        packed = low * (size - 1) - low * (low - 1) // 2 + high - low - 1
                        tl.atomic_add(total + packed, level, mask=level > 0, sem="relaxed")
        tl.debug_barrier()  # the next device writes over what was read
