"""Features: declared once, computed on the device from the rows that a gate lets through."""

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
