"""Rows wait in memory for a moment, so that many share one transaction.

What a killed process loses is what waits here: at most one batch, for at most the delay.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

from homebody_privacy.errors import HomebodyError

from .rows import NewRow

Append = Callable[[Sequence[NewRow], Mapping[str, bytes]], object]


class BatchWriter:
    """Collects rows and stores them by the batch.

    Args:
        append: Stores a batch, such as ``Store.append``.
        keys: Gives the keys of the feature groups that accept rows now. It is asked for each row
            and at each flush: a row whose group was closed while it waited is dropped, also if
            the group was opened again since, under a new key.
        lock: Held during each call; shared with whoever else uses the store.
        batch: Rows that make a batch, at least 1.
        max_delay_s: Longest time a row waits, in seconds.
    """

    __slots__ = ("_append", "_batch", "_delay_s", "_failed", "_keys", "_lock", "_rows", "_timer")

    def __init__(
        self,
        append: Append,
        keys: Callable[[], Mapping[str, bytes]],
        *,
        lock: threading.RLock,
        batch: int = 256,
        max_delay_s: float = 0.05,
    ) -> None:
        """Start with nothing waiting."""
        if batch < 1 or not max_delay_s > 0:
            raise ValueError("a batch has at least one row and waits longer than no time")
        self._append = append
        self._keys = keys
        self._lock = lock
        self._batch = batch
        self._delay_s = max_delay_s
        self._rows: list[tuple[NewRow, bytes]] = []
        self._timer: threading.Timer | None = None
        self._failed: HomebodyError | None = None

    @property
    def pending(self) -> int:
        """Rows that wait."""
        return len(self._rows)

    def add(self, row: NewRow) -> bool:
        """Take a row, to be stored within the delay; False if its feature group accepts none.

        Raises:
            HomebodyError: If rows that waited could not be stored; they wait on, and this row is
                not taken.
        """
        with self._lock:
            if self._failed is not None or len(self._rows) >= self._batch:
                self.flush()
            key = self._keys().get(row.feature)
            if key is None:
                return False
            self._rows.append((row, key))
            if len(self._rows) >= self._batch:
                self.flush()
            elif self._timer is None:
                self._timer = threading.Timer(self._delay_s, self._due)
                self._timer.daemon = True
                self._timer.start()
            return True

    def flush(self) -> None:
        """Store what waits, now.

        Raises:
            HomebodyError: If it could not be stored; it waits on.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._failed = None
            if self._rows:
                keys = self._keys()
                self._append([r for r, key in self._rows if keys.get(r.feature) == key], keys)
                self._rows.clear()

    def drop(self) -> int:
        """Forget what waits without storing it, and return how many rows that were."""
        with self._lock:
            count = len(self._rows)
            self._rows.clear()
            self.flush()
            return count

    def _due(self) -> None:
        """Store what waits; a failure is told to the next caller, this thread has none."""
        with self._lock:
            try:
                self.flush()
            except HomebodyError as error:
                self._failed = error
