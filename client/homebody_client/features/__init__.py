"""Features: declared once, computed on the device from the rows that a gate lets through.

Each name loads its part at first use: a device that only ranks computes no features.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch import compute
    from .defaults import DEFAULT_SPECS
    from .examples import example_at, known_from
    from .incremental import Incremental
    from .send_time import SendTime, best_send_time
    from .spec import KINDS, FeatureSpec, Row, Value

__all__ = [
    "DEFAULT_SPECS",
    "KINDS",
    "FeatureSpec",
    "Incremental",
    "Row",
    "SendTime",
    "Value",
    "best_send_time",
    "compute",
    "example_at",
    "known_from",
]

_WHERE = {
    "DEFAULT_SPECS": "defaults",
    "KINDS": "spec",
    "FeatureSpec": "spec",
    "Incremental": "incremental",
    "Row": "spec",
    "SendTime": "send_time",
    "Value": "spec",
    "best_send_time": "send_time",
    "compute": "batch",
    "example_at": "examples",
    "known_from": "examples",
}


def __getattr__(name: str) -> object:
    """Load a public name from its part.

    Raises:
        AttributeError: If the name is not public.
    """
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
