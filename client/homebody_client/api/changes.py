"""Tells a waiting page that its device changed."""

import threading
from collections.abc import Sequence
from functools import partial
from typing import Final

from .device_like import DeviceLike

_WAITING: Final = 4  # long polls at once: each holds a connection


class Changes:
    """Counts the changes of some devices, and lets callers wait for the next.

    Args:
        devices: The devices to watch.
    """

    __slots__ = ("_changed", "_closed", "_counts", "_stops", "_waiting")

    def __init__(self, devices: Sequence[DeviceLike]) -> None:
        """Start to watch."""
        self._changed = threading.Condition()
        self._counts = [0] * len(devices)
        self._waiting = 0
        self._closed = False
        self._stops = [
            device.subscribe(partial(self._count, at)) for at, device in enumerate(devices)
        ]

    def _count(self, at: int) -> None:
        with self._changed:
            self._counts[at] += 1
            self._changed.notify_all()

    def wait(self, since: Sequence[int], seconds: float) -> list[int]:
        """Return the counts as soon as one differs from ``since``, at the latest after ``seconds``.

        Returns at once while too many callers wait, or after ``close``.
        """
        with self._changed:
            if self._waiting < _WAITING:
                self._waiting += 1
                try:
                    self._changed.wait_for(
                        lambda: self._closed or self._counts != list(since), timeout=seconds
                    )
                finally:
                    self._waiting -= 1
            return [*self._counts]

    def close(self) -> None:
        """Stop watching and let everyone go."""
        for stop in self._stops:
            stop()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
