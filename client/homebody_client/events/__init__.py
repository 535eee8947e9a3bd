"""Events: what happened on the device, in one vocabulary, from an app or from a file."""

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
