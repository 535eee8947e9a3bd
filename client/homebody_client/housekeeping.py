"""Do what time demands, in the background: expiry and retention do not wait for the next call."""

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from homebody_privacy.errors import HomebodyError

EVERY_S: Final = 600.0
"""Seconds between two rounds of housekeeping."""


class Housekeeper:
    """Calls a method now and then, until it is stopped or its object is gone.

    Args:
        tick: A bound method. Only a weak reference is kept: a device that nobody holds any more is
            not kept alive by its housekeeping.
        every_s: Seconds between two calls, above 0.
    """

    __slots__ = ("_end", "_every_s", "_tick")

    def __init__(self, tick: Callable[[], None], *, every_s: float = EVERY_S) -> None:
        """Start a thread that ends with the process."""
        if not every_s > 0.0:
            raise ValueError("every_s must be above 0")
        self._tick = weakref.WeakMethod(tick)
        self._every_s = every_s
        self._end = threading.Event()
        threading.Thread(target=self._run, name="homebody-tick", daemon=True).start()

    def stop(self) -> None:
        """Start no further call; one that is under way goes on to its end.

        It does not wait for it: whoever stops may hold a lock which that call waits for.
        """
        self._end.set()

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            tick = self._tick()
            if tick is None:
                return
            # Nobody listens here. What is shut stays shut, and the next call says why.
            with suppress(HomebodyError):
                tick()
            del tick  # else this frame would keep the object alive until the next call
