"""Distinct items of devices on a GPU, each device bounded as it is counted.

A device adds one integer to each of its distinct items, and that integer follows from their number
alone: all of it is done in float64 by operations that are rounded as IEEE 754 says, so that it is
the integer of the one-device path, exactly.
"""

import triton
import triton.language as tl


# Not specialized: what differs from round to round would be compiled in the middle of a run.
@triton.jit(do_not_specialize=["devices"])
def count(
    items,
    starts,
    counts,
    clips,
    constants,
    seen,
    numbers,
    total,
    devices,
    n_items,
    total_stride,
    DENSE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write how many different items each device chose, and add its integer to each of them.

    Grid: (programs,); a program takes every so manyth device. Which of an item's events is found to
    be its first is left to chance, and nothing depends on it.

    Args:
        items: int32, histories back to back.
        starts: int64 ``(devices,)``, where each history starts.
        counts: int32 ``(devices,)``, its events.
        clips: float64, the norm an update is scaled down to: ``(1,)`` if DENSE, else by the number
            of distinct items.
        constants: float64 ``(2,)``: lattice units of a model unit, and the largest sum of squares.
        seen: int32 ``(programs, n_items)``, zeros; left written.
        numbers: int32 ``(devices,)``, written.
        total: int64, added to: ``total_stride`` further for each device.
        devices: Number of devices.
        n_items: Items of the catalog.
        total_stride: Distance of the tables of two devices; 0 for one table.
        DENSE: Whether the bound is that of a vector over the whole catalog.
        BLOCK: Events at once, a power of two.
    """
    program = tl.program_id(0)
    own = seen + program.to(tl.int64) * n_items
    scale = tl.load(constants)
    most = tl.load(constants + 1)
    mark = tl.zeros((BLOCK,), tl.int32)
    for device in range(program, devices, tl.num_programs(0)):
        events = tl.load(counts + device)
        history = items + tl.load(starts + device)
        number = tl.zeros((), tl.int32)
        mark += 1
        for first in range(0, events, BLOCK):
            event = first + tl.arange(0, BLOCK)
            there = event < events
            item = tl.load(history + event, mask=there, other=0)
            last = tl.atomic_xchg(own + item, mark, mask=there, sem="relaxed")
            number += tl.sum((there & (last != mark)).to(tl.int32), 0)
        tl.store(numbers + device, number)
        tl.debug_barrier()  # all are counted before the marks change
        mark += 1
        if number > 0:
            root = tl.sqrt(number.to(tl.float64))
            clip = tl.load(clips + (0 if DENSE else number))
            value = tl.minimum(1.0 / root, clip / root)
            level = (value * scale).to(tl.int64)
            held = number.to(tl.int64) * level * level
            level = tl.where(held.to(tl.float64) <= most, level, 0)
            table = total + tl.cast(device, tl.int64) * total_stride
            for first in range(0, events, BLOCK):
                event = first + tl.arange(0, BLOCK)
                there = event < events
                item = tl.load(history + event, mask=there, other=0)
                last = tl.atomic_xchg(own + item, mark, mask=there, sem="relaxed")
                levels = tl.zeros((BLOCK,), tl.int64) + level
                tl.atomic_add(table + item, levels, mask=there & (last != mark), sem="relaxed")
        tl.debug_barrier()  # all are added before the next device marks
