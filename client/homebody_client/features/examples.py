"""Features as they were known at a time: no row of the future, not even of the same day.

A group that keeps days gives rows whose hour nobody knows any more. Such a row counts as known
only when its day is over; otherwise an example made for noon would hold the evening.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from .batch import compute
from .spec import DAY_S, FeatureSpec, Row, Value

_HOUR_S: Final = 3_600


def known_from(row: Row) -> float:
    """Return the moment from which a row is known to have happened, in Unix seconds.

    Its time where the row holds ``timestamp``; else the end of its hour where it holds ``hour``;
    else the end of its day (UTC).
    """
    if "timestamp" in row.values:
        return row.at
    step = _HOUR_S if "hour" in row.values else DAY_S
    return float(row.at // step * step + step)


def example_at(specs: Sequence[FeatureSpec], rows: Iterable[Row], t: float) -> dict[str, Value]:
    """Return each feature's value by name, from what was known at ``t`` and nothing later.

    Args:
        specs: What to compute.
        rows: Rows in any order. Secret.
        t: Unix seconds.
    """
    known = [row for row in rows if known_from(row) <= t]
    return {spec.name: compute(spec, known, t) for spec in specs}
