"""Events: what happened on the device, in one vocabulary, from an app or from a file.

Each name loads its part at first use: a device that only ranks needs no vocabulary.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .event import SOURCES, Event, event_json
    from .importers import read_app, read_crm, read_tickets, read_web
    from .parse import parse_event
    from .quality import Finding, Problem, Screen
    from .rows import ROW_FIELDS, event_weight, is_excluded, row_time, row_values
    from .schema import event_schema
    from .vocabulary import DEVICES, EVENTS

__all__ = [
    "DEVICES",
    "EVENTS",
    "ROW_FIELDS",
    "SOURCES",
    "Event",
    "Finding",
    "Problem",
    "Screen",
    "event_json",
    "event_schema",
    "event_weight",
    "is_excluded",
    "parse_event",
    "read_app",
    "read_crm",
    "read_tickets",
    "read_web",
    "row_time",
    "row_values",
]

_WHERE = {
    "DEVICES": "vocabulary",
    "EVENTS": "vocabulary",
    "ROW_FIELDS": "rows",
    "SOURCES": "event",
    "Event": "event",
    "Finding": "quality",
    "Problem": "quality",
    "Screen": "quality",
    "event_json": "event",
    "event_schema": "schema",
    "event_weight": "rows",
    "is_excluded": "rows",
    "parse_event": "parse",
    "read_app": "importers",
    "read_crm": "importers",
    "read_tickets": "importers",
    "read_web": "importers",
    "row_time": "rows",
    "row_values": "rows",
}


def __getattr__(name: str) -> object:
    """Load a public name from its part.

    Raises:
        AttributeError: If the name is not public.
    """
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
