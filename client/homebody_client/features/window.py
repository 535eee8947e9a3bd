"""A window that moves forward in time over rows that may come late.

Rows are kept until the window has left them behind. A row later than the time asked for waits; a
row that comes late, but is still inside, is let in at once.
"""

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from .readings import Values

_SLACK: Final = 1_024  # rows left behind are thrown away this many at a time


@dataclass(frozen=True, slots=True)
class Entry:
    """One row inside a window.

    Attributes:
        at: Unix seconds.
        values: What is kept of the event. Secret.
    """

    at: float
    values: Values = field(repr=False)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The entries next to one that enters or leaves; None at an end."""

    before: Entry | None
    after: Entry | None


Change = Callable[[Entry, Neighbours], None]


class Window:
    """Entries in time order, and the part of them that counts.

    Args:
        length_s: Seconds from its end back to its beginning, which is not part of it.
        enter: Called with each entry that begins to count.
        leave: Called with each entry that no longer counts, oldest first.
    """

    __slots__ = ("_end", "_enter", "_entries", "_high", "_leave", "_length_s", "_low")

    def __init__(self, length_s: float, enter: Change, leave: Change) -> None:
        """Start empty, before all time."""
        self._length_s = length_s
        self._enter = enter
        self._leave = leave
        self._entries: list[Entry] = []
        self._low = 0  # entries[low:high] count
        self._high = 0
        self._end = float("-inf")

    def add(self, entry: Entry) -> None:
        """Take an entry in; one that the window has left behind is dropped."""
        if entry.at <= self._end - self._length_s:
            return
        place = bisect.bisect_right(self._entries, entry.at, lo=self._low, key=_at)
        self._entries.insert(place, entry)
        if entry.at <= self._end:
            self._high += 1
            self._enter(entry, self._around(place))

    def move(self, end: float) -> None:
        """Move the end of the window forward.

        Raises:
            ValueError: If it would go back.
        """
        if not end >= self._end:
            raise ValueError("time must not go back; make a new Incremental from the rows")
        self._end = end
        while self._high < len(self._entries) and self._entries[self._high].at <= end:
            self._high += 1
            self._enter(self._entries[self._high - 1], self._around(self._high - 1))
        while self._low < self._high and self._entries[self._low].at <= end - self._length_s:
            self._low += 1
            gone = self._entries[self._low - 1]
            self._leave(gone, Neighbours(None, self._get(self._low)))
        if self._low > _SLACK:
            del self._entries[: self._low]
            self._high -= self._low
            self._low = 0

    def newest_first(self) -> Iterator[Entry]:
        """Yield the entries that count, newest first."""
        for place in range(self._high - 1, self._low - 1, -1):
            yield self._entries[place]

    def __len__(self) -> int:
        """Count the entries that count."""
        return self._high - self._low

    def _around(self, place: int) -> Neighbours:
        before = self._get(place - 1) if place > self._low else None
        return Neighbours(before, self._get(place + 1))

    def _get(self, place: int) -> Entry | None:
        return self._entries[place] if self._low <= place < self._high else None


def _at(entry: Entry) -> float:
    return entry.at
