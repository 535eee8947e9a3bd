"""A pass over each device's history in logistic factorisation, in rank form, on a GPU.

Whatever a step adds to an item's row is a number times that step's user vector. So the table stays
as it was: a device keeps one number a pair (its coefficient), the user vector of each step (its
path), and for each item it met a chain of its pairs, newest first. A row at any step is the table's
row plus coefficients times vectors along its chain, exactly.

A program takes devices one after another, so its scratch is small and stays in a cache. A chain's
end is found by its item in ``head``; entries below ``base`` are of earlier devices, so that nothing
is cleared between devices. Within a group of pairs the chain is linked by comparing all with all:
an atomic exchange would link pairs of one item in the order of a race, and the sums of a run would
differ from the next one's.
"""

import triton
import triton.language as tl

from homebody_simulation.cohort.on_triton.programs.draws import words
from homebody_simulation.cohort.on_triton.programs.lattice import units


@triton.jit
def start_users(
    items,
    starts,
    counts,
    shares,
    table,
    users,
    dim,
    history_max,
    WINDOW: tl.constexpr,
    DIM: tl.constexpr,
):
    """Write each device's user vector: the weighted mean of the rows of its newest events.

    Grid: (devices,).

    Args:
        items: int32, histories back to back.
        starts: int64 ``(n,)``, where each history starts.
        counts: int32 ``(n,)``, events of each device.
        shares: float64 ``(WINDOW + 1, WINDOW)``: weight by length of the window and age.
        table: float32 ``(items, dim)``.
        users: float32 ``(n, dim)``, written.
        dim: Dimensions.
        history_max: Most events of a window.
        WINDOW: Power of two, at least ``history_max``.
        DIM: Power of two, at least ``dim``.
    """
    device = tl.program_id(0).to(tl.int64)
    count = tl.load(counts + device)
    length = tl.minimum(count, history_max)
    slot = tl.arange(0, WINDOW)
    there = slot < length
    item = tl.load(items + tl.load(starts + device) + count - length + slot, mask=there, other=0)
    share = tl.load(shares + length * WINDOW + length - 1 - slot, mask=there, other=0.0)
    column = tl.arange(0, DIM)
    rows = tl.load(
        table + item[:, None].to(tl.int64) * dim + column[None, :],
        mask=there[:, None] & (column < dim)[None, :],
        other=0.0,
    )
    mean = tl.sum(share[:, None] * rows.to(tl.float64), 0)
    tl.store(users + device * dim + column, mean.to(tl.float32), mask=column < dim)


# Not specialized: what differs from round to round would be compiled in the middle of a run.
@triton.jit(do_not_specialize=["devices", "offset", "tables", "room", "steps"])
def train(
    items,
    starts,
    counts,
    keys,
    users,
    table,
    bias,
    bounds,
    totals,
    norms,
    left,
    head,
    bases,
    coefficients,
    previous,
    met,
    path,
    devices,
    offset,
    tables,
    n_items,
    dim,
    size,
    rows_rate,
    user_rate,
    room,
    steps,
    BATCH: tl.constexpr,
    NEGATIVES: tl.constexpr,
    DIM: tl.constexpr,
    GROUP: tl.constexpr,
    EXACT: tl.constexpr,
    WIDE: tl.constexpr,
    BIAS: tl.constexpr,
):
    """Train devices, clip what they changed and add it to a table on the lattice.

    Grid: (programs,); program q takes devices q, q + programs, and so on.

    Args:
        items: int32, histories back to back.
        starts: int64 ``(devices,)``, where each history starts.
        counts: int32 ``(devices,)``, events of each; best in falling order.
        keys: int32 ``(devices,)``, bits of each device's key.
        users: float32 ``(devices, dim)``, user vectors before the pass; after it, when it ends.
        table: float32 ``(n_items, dim)``.
        bias: float32 ``(n_items,)``.
        bounds: float64 ``(3,)``: clip, scale, largest sum of squares; see ``Bounds``.
        totals: int32 ``(tables, size)``: device u is added to table (offset + u) % tables.
        norms: float64 ``(devices,)``, written: before the clip; NaN where not finite.
        left: uint8 ``(devices,)``, written: 1 for a device that is not finite, or whose integers
            would pass the bound; it has added nothing.
        head: int32 ``(programs, n_items)``: newest entry of each item.
        bases: int32 ``(programs,)``: entries of ``head`` below it are of earlier devices.
        coefficients: float32 ``(programs, room)``, scratch.
        previous: int32 ``(programs, room)``, scratch: the entry before, of the same item, or -1.
        met: int32 ``(programs, room)``, scratch: the item.
        path: float32 ``(programs, steps, DIM)``, scratch.
        devices: Number of devices.
        offset: Devices before these.
        tables: Number of tables: enough that none overflows.
        n_items: Items of the catalog.
        dim: Dimensions.
        size: Length of a table.
        rows_rate: Learning rate of rows.
        user_rate: Learning rate of the user vector.
        room: Pairs of the longest history, at least.
        steps: Steps of the longest history, at least.
        BATCH: Positives a step.
        NEGATIVES: Items drawn for each.
        DIM: Power of two, at least ``dim``.
        GROUP: Pairs worked on at once, a power of two.
        EXACT: Whether DIM is ``dim``.
        WIDE: Whether places in the table need 64 bits.
        BIAS: Whether there is a bias; ``size`` has room for it then.
    """
    index: tl.constexpr = tl.int64 if WIDE else tl.int32
    each: tl.constexpr = NEGATIVES + 1
    pairs_of_step: tl.constexpr = BATCH * each
    program = tl.program_id(0).to(tl.int64)
    head += program * n_items
    coefficients += program * room
    previous += program * room
    met += program * room
    path += program * steps * DIM
    clip, scale, limit = tl.load(bounds), tl.load(bounds + 1), tl.load(bounds + 2)
    column = tl.arange(0, DIM)
    inside = column < dim
    if EXACT:
        inside = tl.full((DIM,), 1, tl.int1)
    group = tl.arange(0, GROUP)
    base = tl.load(bases + program)
    for device in range(tl.program_id(0), devices, tl.num_programs(0)):
        count = tl.load(counts + device)
        start = tl.load(starts + device)
        key = tl.load(keys + device)
        own = users + tl.cast(device, tl.int64) * dim + column
        user = tl.load(own, mask=inside, other=0.0)
        squared = tl.zeros((GROUP,), tl.float64)
        for first in range(0, count, BATCH):
            step = first // BATCH
            entry_of_step = step * pairs_of_step
            positives = tl.minimum(count - first, BATCH)
            tl.store(path + step * DIM + column, user)
            length = tl.sum(user * user, 0).to(tl.float64)
            if BIAS:
                length += 1.0
            slopes = tl.zeros((DIM,), tl.float32)
            for begin in range(0, positives * each, GROUP):
                lane = begin + group
                there = lane < positives * each
                position = first + lane // each
                which = lane % each
                wanted = which == 0
                event = tl.load(items + start + position, mask=there & wanted, other=0)
                word = words(key, position * NEGATIVES + which - 1).to(tl.uint64)
                drawn = ((word * tl.cast(n_items, tl.uint64)) >> 32).to(tl.int32)
                item = tl.where(wanted, event, drawn)
                entry = entry_of_step + lane
                newest = tl.load(head + item, mask=there, other=0)
                tl.debug_barrier()  # every thread has read head before any writes to it
                # Of pairs of one item one is written, whichever; if any was not, see below.
                tl.store(head + item, base + entry, mask=there)
                tl.debug_barrier()
                kept = tl.load(head + item, mask=there, other=0)
                lost = tl.sum((there & (kept != base + entry)).to(tl.int32), 0)
                last = tl.where(newest >= base, newest - base, -1)
                last = tl.where(there, last, -1)
                row = tl.load(
                    table + item[:, None].to(index) * dim + column[None, :],
                    mask=there[:, None] & inside[None, :],
                    other=0.0,
                )
                change = tl.zeros((GROUP, DIM), tl.float32)
                level = tl.zeros((GROUP,), tl.float32)
                before = tl.zeros((GROUP,), tl.float32)
                walk = last
                while tl.max(walk, 0) >= 0:
                    live = walk >= 0
                    coefficient = tl.load(coefficients + walk, mask=live, other=0.0)
                    now = walk >= entry_of_step  # of this step: from the same forward pass
                    past = live & (walk < entry_of_step)
                    vector = tl.load(
                        path + (walk // pairs_of_step * DIM)[:, None] + column[None, :],
                        mask=past[:, None] & inside[None, :],
                        other=0.0,
                    )
                    change += coefficient[:, None] * vector
                    level += tl.where(past, coefficient, 0.0)
                    before += tl.where(now, coefficient, 0.0)
                    walk = tl.load(previous + walk, mask=live, other=-1)
                row += change
                moved = tl.sum(change * user[None, :], 1)
                logit = tl.sum(row * user[None, :], 1)
                if BIAS:
                    moved += level
                    logit += level + tl.load(bias + item, mask=there, other=0.0)
                against = tl.where(wanted, -logit, logit)
                small = tl.exp(-tl.abs(against))  # at most 1: it cannot overflow
                share = tl.where(against >= 0.0, 1.0, small) / (1.0 + small)
                slope = tl.where(wanted, -share, share) / positives.to(tl.float32)
                slope = tl.where(there, slope, 0.0)
                slopes += tl.sum(slope[:, None] * row, 0)
                coefficient = -rows_rate * slope
                link = last
                if lost > 0:  # an item twice: link its pairs in their order, and note the last
                    same = (item[:, None] == item[None, :]) & there[None, :]
                    earlier = same & (group[None, :] < group[:, None])
                    before += tl.sum(tl.where(earlier, coefficient[None, :], 0.0), 1)
                    nearest = tl.max(tl.where(earlier, group[None, :], -1), 1)
                    later = tl.sum((same & (group[None, :] > group[:, None])).to(tl.int32), 1)
                    link = tl.where(nearest >= 0, entry_of_step + begin + nearest, last)
                    tl.debug_barrier()  # every thread has seen that something was lost
                    tl.store(head + item, base + entry, mask=there & (later == 0))
                    tl.debug_barrier()
                exact = coefficient.to(tl.float64)
                squared += exact * (exact * length + 2.0 * moved.to(tl.float64))
                squared += 2.0 * exact * length * before.to(tl.float64)
                # Read by later groups, which wait for each other first.
                tl.store(coefficients + entry, coefficient, mask=there)
                tl.store(previous + entry, link, mask=there)
                tl.store(met + entry, item, mask=there)
            user -= user_rate * slopes
        tl.debug_barrier()  # all pairs are linked
        tl.store(own, user, mask=inside)
        total = tl.sum(squared, 0)
        total = tl.where(total < 0.0, 0.0, total)  # rounding; false for NaN
        broken = tl.sum(tl.where(tl.abs(user) < float("inf"), 0, 1), 0)
        finite = (total < float("inf")) & (broken == 0)  # false for NaN
        norm = tl.where(finite, tl.sqrt(total), float("nan"))
        tl.store(norms + device, norm)
        factor = tl.where(norm > clip, clip / tl.where(norm > clip, norm, 1.0), 1.0) * scale
        factor = tl.where(finite, factor, 0.0)
        entries = count * each
        target = totals + tl.cast((offset + device) % tables, tl.int64) * size
        passed = 0
        sign = 1
        while sign != 0:
            squares = tl.zeros((GROUP,), tl.int64)
            for begin in range(0, entries, GROUP):
                entry = begin + group
                there = entry < entries
                item = tl.load(met + entry, mask=there, other=0)
                newest = tl.load(head + item, mask=there, other=0)
                there = there & (newest == base + entry)  # each item once, at its newest entry
                row = tl.zeros((GROUP, DIM), tl.float32)
                level = tl.zeros((GROUP,), tl.float32)
                walk = tl.where(there, entry, -1)
                while tl.max(walk, 0) >= 0:
                    live = walk >= 0
                    coefficient = tl.load(coefficients + walk, mask=live, other=0.0)
                    vector = tl.load(
                        path + (walk // pairs_of_step * DIM)[:, None] + column[None, :],
                        mask=live[:, None] & inside[None, :],
                        other=0.0,
                    )
                    row += coefficient[:, None] * vector
                    level += coefficient
                    walk = tl.load(previous + walk, mask=live, other=-1)
                integers = units(row.to(tl.float64), factor)
                place = item[:, None].to(index) * dim + column[None, :]
                tl.atomic_add(
                    target + place,
                    integers * sign,
                    mask=there[:, None] & (integers != 0),
                    sem="relaxed",
                )
                whole = integers.to(tl.int64)
                squares += tl.sum(whole * whole, 1)
                if BIAS:
                    steps_of = units(level.to(tl.float64), factor)
                    tl.atomic_add(
                        target + tl.cast(n_items, index) * dim + item,
                        steps_of * sign,
                        mask=there & (steps_of != 0),
                        sem="relaxed",
                    )
                    squares += steps_of.to(tl.int64) * steps_of.to(tl.int64)
            # Rounding of the norm let it pass the bound: the same integers again, taken away.
            over = tl.sum(squares, 0).to(tl.float64) > limit
            passed = tl.where(over, 1, 0)
            sign = tl.where(over & (sign == 1), -1, 0)
        tl.store(left + device, tl.where(finite, passed, 1).to(tl.uint8))
        base += entries
        tl.debug_barrier()  # the next device writes over what was read
    tl.store(bases + program, base)
