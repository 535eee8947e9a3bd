"""Rows leave when their time is up or the newest need the place; a clock cannot give it back."""

import math

from hypothesis import given
from hypothesis import strategies as st

from homebody_client.store import StoredRow, overdue, time_in_force

_DAY_S = 86_400.0
_ROWS = st.lists(st.floats(-1e9, 1e10), max_size=30).map(
    lambda times: [
        StoredRow(seq=seq, feature="f", at=at, values={}) for seq, at in enumerate(times, start=1)
    ]
)


def _row(seq: int, days: float) -> StoredRow:
    return StoredRow(seq=seq, feature="f", at=days * _DAY_S, values={})


def test_cr_20_a_row_leaves_when_its_days_are_over() -> None:
    rows = [_row(1, 0), _row(2, 1)]
    assert overdue(rows, now=30 * _DAY_S - 1, ttl_days=30, max_rows=10) == []
    assert overdue(rows, now=30 * _DAY_S, ttl_days=30, max_rows=10) == [1]
    assert overdue(rows, now=99 * _DAY_S, ttl_days=30, max_rows=10) == [1, 2]


def test_cr_20_the_oldest_rows_leave_first_whatever_their_order() -> None:
    rows = [_row(1, 3), _row(2, 1), _row(3, 2), _row(4, 1)]
    assert overdue(rows, now=4 * _DAY_S, ttl_days=30, max_rows=2) == [2, 4]
    assert overdue(rows, now=4 * _DAY_S, ttl_days=30, max_rows=4) == []
    assert overdue(rows, now=4 * _DAY_S, ttl_days=2.5, max_rows=3) == [2, 4]


def test_cn_06_a_clock_that_goes_back_lengthens_no_life() -> None:
    rows, seen = [_row(1, 0)], 31 * _DAY_S
    now = time_in_force(30 * _DAY_S - 1, seen)
    assert now == seen
    assert overdue(rows, now=now, ttl_days=30, max_rows=10) == [1]
    assert time_in_force(seen + 1, seen) == seen + 1


@given(rows=_ROWS, now=st.floats(0, 1e10), ttl=st.integers(1, 4000), most=st.integers(1, 40))
def test_what_stays_is_young_enough_and_the_newest(
    rows: list[StoredRow], now: float, ttl: int, most: int
) -> None:
    gone = set(overdue(rows, now=now, ttl_days=ttl, max_rows=most))
    stay = [row for row in rows if row.seq not in gone]
    assert len(stay) <= most
    assert all(now - row.at < ttl * _DAY_S for row in stay)
    newest_gone = max(
        ((row.at, row.seq) for row in rows if row.seq in gone), default=(-math.inf, 0)
    )
    assert all((row.at, row.seq) > newest_gone for row in stay)
    young = [row for row in rows if now - row.at < ttl * _DAY_S]
    assert len(stay) == min(most, len(young))


@given(rows=_ROWS, seen=st.floats(0, 1e10), now=st.floats(0, 1e10))
def test_cn_06_no_clock_brings_a_row_back(rows: list[StoredRow], seen: float, now: float) -> None:
    before = set(overdue(rows, now=seen, ttl_days=30, max_rows=20))
    later = set(overdue(rows, now=time_in_force(now, seen), ttl_days=30, max_rows=20))
    assert before <= later
