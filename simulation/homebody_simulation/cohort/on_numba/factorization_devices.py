"""The devices of one thread, one after another: what Python calls of compiled code."""

from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.on_numba.factorization_lattice import contribute
from homebody_simulation.cohort.on_numba.factorization_memory import (
    Array,
    Integers,
    Limits,
    P,
    Pass,
    Places,
    Scratch,
    Signed,
    Vector,
    outer,
)
from homebody_simulation.cohort.on_numba.factorization_pass import pass_over
from homebody_simulation.cohort.on_numba.factorization_rows import (
    Width,
    load,
    narrowed,
    plus_times,
    store,
    widened,
    zeros_64,
)

LEFT: Final = 3
"""Status of a device that added nothing because its integers would have passed the bound."""

_OK, _EMPTY, _NOT_FINITE = int(Status.OK), int(Status.EMPTY), int(Status.NOT_FINITE)
_LAST: Final = 2**31 - 1


@outer
def start_users(
    width: Width,
    table: Array,
    ptr: Integers,
    items: Signed,
    rows: Integers,
    shares: Vector,
    users: Array,
) -> None:
    """Write the mean of the newest items' rows for each device, in float64 rounded once.

    Args:
        width: Of a row.
        table: Item table of shape ``(items, dim)``.
        ptr: int64 of shape ``(devices + 1,)``.
        items: int32 of shape ``(events,)``.
        rows: Devices, of shape ``(n,)``.
        shares: Shape ``(window + 1, window)``; row m has the weights of m events, oldest first.
        users: Shape ``(n, dim)``; written.
    """
    for d in range(len(rows)):
        end = ptr[rows[d] + 1]
        events = min(end - ptr[rows[d]], shares.shape[1])
        mean = zeros_64(width)
        for j in range(events):
            row = widened(load(table, P(items[end - events + j]), width))
            mean = plus_times(mean, shares[events, j], row)
        store(users, P(d), narrowed(mean))


@outer
def train(  # noqa: PLR0913, PLR0917 - compiled code takes arrays by position
    width: Width,
    table: Array,
    bias: Array,
    ptr: Integers,
    items: Signed,
    rows: Integers,
    keys: Places,
    users: Array,
    rules: Pass,
    limits: Limits,
    s: Scratch,
    sums: Signed,
    levels: Signed,
    norms: Vector,
    status: npt.NDArray[np.uint8],
) -> None:
    """Train devices and add up what they contribute; everything is written to the last four.

    Args:
        width: Of a row.
        table: Item table of shape ``(items, dim)``.
        bias: Of shape ``(items,)``, or empty for none.
        ptr: int64 of shape ``(devices + 1,)``; device u owns ``items[ptr[u]:ptr[u + 1]]``.
        items: int32 of shape ``(events,)``.
        rows: Devices, of shape ``(n,)``.
        keys: Of shape ``(n,)``: what ``Draws`` takes.
        users: Of shape ``(n, dim)``: the user vectors, changed to those after the pass. One that
            would not be finite stays.
        rules: How a device passes over its history.
        limits: The bound.
        s: Memory of this thread, for the longest of these histories.
        sums: int32 of shape ``(items, dim)``; the caller sees to it that no sum overflows.
        levels: int32 of shape ``(items,)``, or empty where there is no bias.
        norms: float64 of shape ``(n,)``.
        status: uint8 of shape ``(n,)``: a ``Status``, or ``LEFT``.
    """
    for d in range(len(rows)):
        history = items[ptr[rows[d]] : ptr[rows[d] + 1]]
        pairs = len(history) * (rules.negatives + 1)
        norms[d] = 0.0
        if not pairs:
            status[d] = _EMPTY
            continue
        if s.base[0] + pairs > _LAST:
            for item in range(len(s.head)):
                s.head[item] = -1
            s.base[0] = 0
        visits, squared = pass_over(width, table, bias, history, keys[d], users, d, rules, s)
        norm = np.sqrt(squared)
        norms[d] = norm
        if norm < np.inf:
            factor = (1.0 if norm <= limits.clip else limits.clip / norm) * limits.scale
            within = contribute(width, visits, factor, limits.squares, sums, levels, s)
            status[d] = _OK if within else LEFT
        else:
            status[d] = _NOT_FINITE
        s.base[0] += visits


@outer
def empty(table: Signed, total: Integers) -> None:
    """Move a thread's sums into the sum of all, and leave zeros."""
    for place in range(len(table)):
        total[place] += table[place]
        table[place] = 0
