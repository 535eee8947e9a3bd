"""The local pass of logistic factorisation for many devices, without a copy of the table.

Each change of an item's row is a number times the user vector of that step, so a device's change
of the table is a sum of c p over (item, step) pairs, here called visits: the table is only read.
What a row has become is the row plus the earlier visits of that item; its logit needs their c and
the dot products of user vectors, and so do the norm of the change and the user vector's gradient:

    u = sum of c_l p_l.p over earlier visits l     logit = q.p + u + bias, of one visit
    norm^2 += c (c p.p + 2 u)                      gradient of p = sum g q + sum g c_l p_l

A bias is one more entry of every row that meets a 1 in every user vector.

Visits of an item are chained from newest to oldest. ``head`` says which visit of an item is its
newest, counted through all devices, so that it need not be cleared between them.
"""

import numpy as np

from homebody_models.draws import FIRST, SECOND, STEP
from homebody_simulation.cohort.on_numba.factorization_memory import (
    AHEAD,
    I32,
    I64,
    NEAR,
    U32,
    Array,
    F,
    P,
    Pass,
    Places,
    Scratch,
    Signed,
    inner,
)
from homebody_simulation.cohort.on_numba.factorization_rows import (
    Native,
    Width,
    dot,
    fetch,
    fused,
    load,
    plus_times,
    store,
    two_to,
    widened,
    zeros,
)


@inner
def _draw(key: int, count: int, n_items: int, drawn: Places) -> None:
    """Write the first items of a device's ``Draws``."""
    for j in range(count):
        h = U32(U32(key) + U32(U32(j) * U32(STEP)))
        h = U32(h ^ (h >> U32(16)))
        h = U32(h * U32(FIRST))
        h = U32(h ^ (h >> U32(15)))
        h = U32(h * U32(SECOND))
        h = U32(h ^ (h >> U32(16)))
        drawn[j] = U32((P(h) * P(n_items)) >> P(32))


@inner
def _slopes(
    logit: Array,
    met: Array,
    wanted: Array,
    share: np.float32,
    rate: np.float32,
    slope: Array,
    coefficient: Array,
) -> None:
    """Write gradients by the logits, and coefficients: the polynomial of expf in Cephes."""
    for n in range(NEAR):  # a number known to the compiler: no rest of single visits
        x = logit[n]
        near = min(F(87.0), x)
        near = max(F(-87.0), near)
        k = I32(I32(fused(F(-1.44269504), near, F(128.5))) - I32(128))
        r = fused(F(k), F(-0.693359375), -near)
        r = fused(F(k), F(2.12194440e-4), r)
        y = F(1.9875691500e-4)
        y = fused(y, r, F(1.3981999507e-3))
        y = fused(y, r, F(8.3334519073e-3))
        y = fused(y, r, F(4.1665795894e-2))
        y = fused(y, r, F(1.6666665459e-1))
        y = fused(y, r, F(5.0000001201e-1))
        y = fused(y, r * r, r) + F(1.0)
        chance = F(1.0) / fused(y, two_to(k), F(1.0))
        chance = chance if abs(x) < F(np.inf) else F(np.nan)  # the device has nothing to say
        g = fused(met[n], chance, -wanted[n]) * share
        slope[n] = g
        coefficient[n] = -rate * g


@inner
def _visit(
    chosen: Places | Signed,
    first: int,
    last: int,
    wanted: np.float32,
    fresh: int,
    visits: int,
    repeated: int,
    s: Scratch,
) -> tuple[int, int]:
    """Make visits of the step out of some of its pairs; return how many visits and repeats."""
    base = s.base[0]
    for j in range(first, last):
        item = U32(chosen[P(j)])
        newest = I64(s.head[item])
        if newest >= fresh:  # met in this step already
            m = P(newest - base)
            s.met[m] += F(1.0)
            s.wanted[m] += wanted
            continue
        m = P(visits)
        older = newest - base
        s.item[m] = item
        s.older[m] = I32(older)
        s.head[item] = I32(base + visits)
        s.listed[P(repeated)] = U32(visits)
        repeated += older >= 0  # no branch: it would be guessed wrong too often
        visits += 1
    return visits, repeated


@inner
def _link(repeated: int, lift: float, s: Scratch) -> int:
    """Add earlier visits to the logits; return how many links that were.

    All visits take one link at a time, so that there is no loop a visit whose end is guessed.
    """
    for r in range(repeated):
        m = s.listed[P(r)]
        s.link_from[P(r)] = m
        s.link_to[P(r)] = U32(s.older[m])
    low, high = 0, repeated
    while low < high:
        end = high
        for r in range(low, high):
            m, earlier = s.link_from[P(r)], s.link_to[P(r)]
            s.logit[m] += F(s.coefficient[earlier] * (s.product[s.step[earlier]] + lift))
            older = s.older[earlier]
            s.link_from[P(end)] = m
            s.link_to[P(end)] = U32(older)
            end += older >= 0
        low, high = high, end
    return high


@inner
def _sum_of_squares(values: Array) -> float:
    one, two, three, four, whole = 0.0, 0.0, 0.0, 0.0, len(values) // 4 * 4
    for n in range(0, whole, 4):  # four sums in turn: one would wait for each addition
        one += np.float64(values[P(n)]) * np.float64(values[P(n)])
        two += np.float64(values[P(n + 1)]) * np.float64(values[P(n + 1)])
        three += np.float64(values[P(n + 2)]) * np.float64(values[P(n + 2)])
        four += np.float64(values[P(n + 3)]) * np.float64(values[P(n + 3)])
    for n in range(whole, len(values)):
        one += np.float64(values[P(n)]) * np.float64(values[P(n)])
    return (one + two) + (three + four)


@inner
def _open(first: int, own: int, end: int, step: int, s: Scratch) -> None:
    """Make places ready for the visits of a step, those before ``own`` for positives."""
    for m in range(first, end):
        s.met[P(m)] = F(1.0)
        s.step[P(m)] = U32(step)
        s.logit[P(m)] = F(0.0)
    for m in range(first, own):
        s.wanted[P(m)] = F(1.0)


@inner
def _learn(
    width: Width,
    table: Array,
    user: Native,
    first: int,
    visits: int,
    share: np.float32,
    rate: np.float32,
    s: Scratch,
) -> Native:
    """Finish the logits and write what follows; return the gradient of the user vector."""
    back = zeros(width)
    for low in range(first, visits, NEAR):
        high = min(visits, low + NEAR)
        for m in range(low, high):
            fetch(table, P(s.item[P(m + AHEAD)]), width)
            s.logit[P(m)] += dot(load(table, P(s.item[P(m)]), width), user)
        _slopes(
            s.logit[low:],
            s.met[low:],
            s.wanted[low:],
            share,
            rate,
            s.slope[low:],
            s.coefficient[low:],
        )
        for m in range(low, high):
            back = plus_times(back, s.slope[P(m)], load(table, P(s.item[P(m)]), width))
    return back


@inner
def _settle(links: int, lift: float, s: Scratch) -> float:
    """Return what the links add to the squared norm; write their part of the user's gradient."""
    squared = 0.0
    for r in range(links):
        m, earlier = s.link_from[P(r)], s.link_to[P(r)]
        c, e = np.float64(s.coefficient[earlier]), s.step[earlier]
        squared += 2.0 * np.float64(s.coefficient[m]) * c * (s.product[e] + lift)
        s.extra[e] += np.float64(s.slope[m]) * c
    return squared


@inner
def pass_over(
    width: Width,
    table: Array,
    bias: Array,
    history: Signed,
    key: int,
    users: Array,
    place: int,
    rules: Pass,
    s: Scratch,
) -> tuple[int, float]:
    """Pass over one history; return how many visits, and the squared norm of the change.

    The user vector at ``place`` of ``users`` becomes the new one, if that is finite; else the norm
    is NaN.
    """
    n, batch, k = len(history), rules.batch, rules.negatives
    lift = 1.0 if len(bias) else 0.0
    _draw(key, n * k, len(table), s.drawn)
    user = load(users, P(place), width)
    visits, squared = 0, 0.0
    for t in range((n + batch - 1) // batch):
        start, stop = t * batch, min(n, (t + 1) * batch)
        first, fresh, end = visits, s.base[0] + visits, visits + (stop - start) * (k + 1)
        store(s.path, P(t), user)
        _open(first, first + stop - start, end, t, s)
        visits, repeated = _visit(history, start, stop, F(1.0), fresh, visits, 0, s)
        for m in range(visits, end):
            s.wanted[P(m)] = F(0.0)
        visits, repeated = _visit(s.drawn, start * k, stop * k, F(0.0), fresh, visits, repeated, s)
        wide = widened(user)
        for e in range(t):
            s.product[e] = dot(widened(load(s.path, P(e), width)), wide)
            s.extra[e] = 0.0
        links = _link(repeated, lift, s)
        if len(bias):
            for m in range(first, visits):
                s.logit[P(m)] += bias[s.item[P(m)]]
        share = F(1.0) / F(stop - start)
        back = _learn(width, table, user, first, visits, share, rules.rows_rate, s)
        squared += (dot(wide, wide) + lift) * _sum_of_squares(s.coefficient[first:visits])
        squared += _settle(links, lift, s)
        for e in range(t):
            back = plus_times(back, F(s.extra[e]), load(s.path, P(e), width))
        user = plus_times(user, -rules.user_rate, back)
    length = dot(widened(user), widened(user))
    if not length + abs(squared) < np.inf:  # false for NaN too
        return visits, np.nan
    store(users, P(place), user)
    return visits, max(squared, 0.0)  # a change that cancels out may round below
