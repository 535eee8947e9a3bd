"""The encrypted store of a device: event log, derived things and queue in one SQLite file."""

from .batch import BatchWriter
from .retention import overdue, time_in_force
from .rows import NewRow, StoredRow, Value
from .store import Store

__all__ = ["BatchWriter", "NewRow", "Store", "StoredRow", "Value", "overdue", "time_in_force"]
