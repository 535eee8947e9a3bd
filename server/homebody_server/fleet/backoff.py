"""When a process that ended is started again.

Flower holds a SuperNode that was killed for online until its heartbeat lapses, 60 s, and turns a
new one with the same key away; one that ended when asked has signed off and may come back at once.
A SuperLink must be back within those 60 s, else all its nodes count as gone.
"""

import random
from dataclasses import dataclass
from typing import Final

from .roles import Kind

HELD_S: Final = 60.0
"""How long Flower holds a lost SuperNode for online; fixed in flwr 1.41 and 1.42."""
_AFTER_HELD_S: Final = (2.0, 20.0)
_FIRST_S: Final = 0.5
_MOST_S: Final = 20.0
SETTLED_S: Final = 30.0
"""A process that lived this long has started well: the next failure is a first one again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended.

    Attributes:
        kind: What it was to Flower.
        code: Its exit status, negative for a signal; None if nobody saw it.
        quick: How many times in a row, this one included, it ended before it had settled.
    """

    kind: Kind
    code: int | None
    quick: int


def pause_s(ended: Ended, rng: random.Random) -> float:
    """Return how long to wait before the process is started again, seconds.

    Args:
        ended: How it ended.
        rng: Jitter: processes that fell together do not come back together.

    Examples:
        >>> ended = Ended(kind=Kind.SUPERNODE, code=-9, quick=0)
        >>> 62 <= pause_s(ended, random.Random(1)) <= 80
        True
        >>> pause_s(Ended(kind=Kind.SUPERNODE, code=0, quick=0), random.Random(1))
        0.0
    """
    if ended.kind is Kind.SUPERNODE and ended.code != 0:
        return HELD_S + rng.uniform(*_AFTER_HELD_S)
    if not ended.quick:
        return 0.0
    longest = min(_MOST_S, _FIRST_S * 2.0 ** min(ended.quick, 10))
    return rng.uniform(longest / 2, longest)
