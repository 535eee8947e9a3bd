"""How long to wait, and for whom to try again: clock, sleep and chance as arguments.

A message that came back with an error, or to which nothing came, is sent again: first soon, then
later and later, each wait drawn at random below its bound ("full jitter", M. Brooker, "Exponential
Backoff And Jitter" (2015), https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 16.0
_QUICK_S: Final = 0.02
_SLOW_S: Final = 0.5


def _below(bound: float) -> float:
    """Draw from the system: nothing near the noise uses a generator that can be seeded."""
    return bound * int.from_bytes(os.urandom(6), "big") / 2.0**48


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Time, chance and patience of the exchanges with nodes. Public.

    Attributes:
        clock: Monotonic seconds.
        now: Unix seconds.
        sleep: Waits that many seconds.
        below: Draws a number from 0 to its argument.
        attempts: How often one message is sent at most.
    """

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    below: Callable[[float], float] = _below
    attempts: int = 5

    def __post_init__(self) -> None:
        """Refuse to send nothing."""
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}")

    def backoff_s(self, tries: int) -> float:
        """Return how long to wait after the ``tries``-th failure, from 1."""
        return self.below(min(_LONGEST_S, _FIRST_S * 2.0 ** (tries - 1)))

    @staticmethod
    def poll_s(looks: int) -> float:
        """Return how long to wait after that many looks at an empty inbox."""
        return min(_SLOW_S, _QUICK_S * 1.5**looks)
