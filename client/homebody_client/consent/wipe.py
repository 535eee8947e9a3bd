"""Overwrite what was computed under a yes that does not hold any more."""

from collections.abc import Mapping
from typing import Any


def wipe(thing: Any) -> None:  # noqa: ANN401 - whatever a computation returns
    """Overwrite arrays with zeros, also inside lists, tuples and tables; leave the rest alone."""
    if isinstance(thing, Mapping):
        wipe(list(thing.values()))
    elif isinstance(thing, list | tuple):
        for one in thing:
            wipe(one)
    elif isinstance(thing, bytearray):
        thing[:] = bytes(len(thing))
    elif hasattr(thing, "zero_"):  # a tensor
        thing.zero_()
    elif hasattr(thing, "fill") and hasattr(thing, "dtype") and thing.flags.writeable:  # an array
        thing.fill(0)
