"""What is kept too long or beyond the cap, by the clock in force."""

from collections.abc import Iterable
from typing import Final, Protocol

_DAY_S: Final = 86_400


class Dated(Protocol):
    """A row, as far as retention looks at it."""

    @property
    def seq(self) -> int:
        """Its number."""

    @property
    def at(self) -> float:
        """When it happened, Unix seconds."""


def time_in_force(now: float, last_seen: float) -> float:
    """Return the later of the two: a clock that goes back lengthens no time to live."""
    return max(now, last_seen)


def overdue(rows: Iterable[Dated], *, now: float, ttl_days: float, max_rows: int) -> list[int]:
    """Return the numbers of the rows that may not stay, oldest first.

    Args:
        rows: Rows of one feature group, in any order.
        now: The time in force, Unix seconds.
        ttl_days: A row of this age is overdue.
        max_rows: Of the others the newest this many stay.

    Examples:
        >>> from homebody_client.store import StoredRow
        >>> rows = [StoredRow(seq=n, feature="f", at=n * 86_400.0, values={}) for n in range(5)]
        >>> overdue(rows, now=6 * 86_400.0, ttl_days=5, max_rows=2)
        [0, 1, 2]
    """
    ordered = sorted(rows, key=lambda row: (row.at, row.seq))
    expired = sum(now - row.at >= ttl_days * _DAY_S for row in ordered)
    gone = max(expired, len(ordered) - max_rows)
    return [row.seq for row in ordered[:gone]]
