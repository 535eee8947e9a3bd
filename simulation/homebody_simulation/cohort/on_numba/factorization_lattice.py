"""Put a device's change on the lattice and add it to the sums, row by row; see the pass."""

import numpy as np

from homebody_simulation.cohort.on_numba.factorization_memory import (
    AHEAD,
    I32,
    I64,
    U32,
    F,
    P,
    Scratch,
    Signed,
    inner,
)
from homebody_simulation.cohort.on_numba.factorization_rows import (
    Native,
    Width,
    added,
    fetch,
    load,
    narrowed,
    plus_product,
    plus_times,
    store,
    taken,
    total,
    truncated,
    widened,
    zeros,
    zeros_64,
)


@inner
def _row(width: Width, newest: int, s: Scratch) -> Native:
    """Return an item's row of the contribution, on the lattice but for its truncation."""
    row, m = zeros(width), newest
    while m >= 0:
        row = plus_times(row, s.coefficient[P(m)], load(s.path, P(s.step[P(m)]), width))
        m = I64(s.older[P(m)])
    return row


@inner
def _sort_out(visits: int, s: Scratch) -> tuple[int, int]:
    """List the items met in one step alone, and the newest visits of the others; count both."""
    alone, chained, base = 0, 0, s.base[0]
    for m in range(visits):  # no branch, as above
        newest = I64(s.head[s.item[P(m)]]) == base + m
        first = s.older[P(m)] < 0
        s.listed[P(alone)] = U32(m)
        s.other[P(chained)] = U32(m)
        alone += newest & first
        chained += newest & (not first)
    for r in range(AHEAD):
        s.listed[P(alone + r)] = U32(0)  # asked for and not used
    return alone, chained


@inner
def _give(
    width: Width,
    alone: int,
    chained: int,
    sign: int,
    sums: Signed,
    s: Scratch,
) -> float:
    """Add a device's rows to the sums (1) or take them away (-1); return their squares' sum.

    That sum is of float32. What was taken away is what was added, to the bit.
    """
    squares = zeros(width)
    step, user = -1, zeros(width)
    for r in range(alone):
        m = s.listed[P(r)]
        item = P(s.item[m])
        fetch(sums, P(s.item[s.listed[P(r + AHEAD)]]), width)
        if I64(s.step[m]) != step:
            step = I64(s.step[m])
            user = load(s.path, P(step), width)
        whole = truncated(plus_times(zeros(width), s.coefficient[m], user))
        squares = plus_product(squares, narrowed(whole), narrowed(whole))
        old = load(sums, item, width)
        store(sums, item, added(old, whole) if sign > 0 else taken(old, whole))
    for r in range(chained):
        newest = s.other[P(r)]
        item = P(s.item[newest])
        whole = truncated(_row(width, I64(newest), s))
        squares = plus_product(squares, narrowed(whole), narrowed(whole))
        old = load(sums, item, width)
        store(sums, item, added(old, whole) if sign > 0 else taken(old, whole))
    return np.float64(total(squares))


@inner
def _level(newest: int, s: Scratch) -> np.int32:
    """Return an item's bias in the contribution."""
    level, m = F(0.0), newest
    while m >= 0:
        level += s.coefficient[P(m)]
        m = I64(s.older[P(m)])
    return I32(level)


@inner
def _give_levels(alone: int, chained: int, sign: int, sums: Signed, s: Scratch) -> float:
    """Add a device's biases to the sums, or take them away; return the sum of squares, exactly."""
    squares = 0.0
    for r in range(alone + chained):
        newest = s.listed[P(r)] if r < alone else s.other[P(r - alone)]
        whole = _level(I64(newest), s)
        squares += np.float64(whole) * np.float64(whole)
        sums[P(s.item[newest])] += whole if sign > 0 else -whole
    return squares


@inner
def _exact_squares(width: Width, alone: int, chained: int, s: Scratch) -> float:
    """Return the sum of squares of a device's rows: whole numbers, so float64 rounds none."""
    squares = zeros_64(width)
    for r in range(alone + chained):
        newest = s.listed[P(r)] if r < alone else s.other[P(r - alone)]
        whole = widened(truncated(_row(width, I64(newest), s)))
        squares = plus_product(squares, whole, whole)
    return np.float64(total(squares))


@inner
def contribute(
    width: Width,
    visits: int,
    factor: float,
    squares: float,
    sums: Signed,
    levels: Signed,
    s: Scratch,
) -> bool:
    """Add what a device contributes; return False, and add nothing, if it would pass the bound."""
    for m in range(visits):
        s.coefficient[P(m)] = F(factor * np.float64(s.coefficient[P(m)]))
    alone, chained = _sort_out(visits, s)
    found = _give(width, alone, chained, 1, sums, s)
    more = _give_levels(alone, chained, 1, levels, s) if len(levels) else 0.0
    # Each entry of the rounded sum is rounded once a row, and once when the entries are added.
    rounding = (alone + chained + sums.shape[1] + 2) * 2.0**-23
    if found * (1.0 + rounding) + more <= squares:
        return True
    if _exact_squares(width, alone, chained, s) + more <= squares:
        return True
    _give(width, alone, chained, -1, sums, s)
    if len(levels):
        _give_levels(alone, chained, -1, levels, s)
    return False
