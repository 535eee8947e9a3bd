"""Parse one column of a table of events; a value that cannot be meant gives a reason.

Reasons are fixed sentences: they never repeat a value, which may be someone's.
"""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Literal

import numpy as np

Role = Literal["user", "item", "timestamp", "value"]
"""What a column can be."""

_LAST_S = 253_402_300_799  # 9999-12-31T23:59:59Z
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FORM = "is neither Unix seconds nor ISO 8601"


def parse_column(
    role: Role, values: Sequence[object]
) -> tuple[list[str | int | float | None], list[str | None]]:
    """Parse the values of one column.

    Args:
        role: What the column is; decides how a value is read.
        values: Text, numbers, dates or None, as the file has them.

    Returns:
        The parsed values, None where there is none; and for each row the reason, None if good.

    Examples:
        >>> parse_column("timestamp", ["2009-12-01 07:45:00", 5, "soon", None])[0]
        [1259653500, 5, None, None]
        >>> parse_column("value", ["2.5", "nan"])[1]
        [None, 'value is NaN or infinite']
    """
    parse = {"timestamp": _seconds, "value": _number}.get(role, _identifier)
    parsed: list[str | int | float | None] = []
    reasons: list[str | None] = []
    for value in values:
        try:
            parsed.append(parse(value))
            reasons.append(None)
        except ValueError as error:
            parsed.append(None)
            reasons.append(f"{role} {error}")
    return parsed, reasons


def _identifier(value: object) -> str:
    """Return an id as text; whole floats, as spreadsheets write ids, lose the point."""
    if value is None:
        raise ValueError("is missing")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("is missing" if math.isnan(value) else "is infinite")
        value = int(value) if value.is_integer() else value
    text = str(value).strip()
    if not text:
        raise ValueError("is empty")
    return text


def _number(value: object) -> float:
    """Return a finite number that float32 can hold."""
    if value is None or value == "":
        raise ValueError("is missing")
    number = _float(str(value))
    if number is None:
        raise ValueError("is not a number")
    if not math.isfinite(number):
        raise ValueError("is NaN or infinite")
    if abs(number) > _FLOAT32_MAX:
        raise ValueError("is too large for a 32-bit float")
    return number


def _seconds(value: object) -> int:
    """Return Unix seconds, fractions cut off; a time without a zone is UTC."""
    if value is None or value == "":
        raise ValueError("is missing")
    seconds = math.floor(_instant(value))
    if seconds < 0:
        raise ValueError("is before 1970")
    if seconds > _LAST_S:
        raise ValueError("is after the year 9999: Unix seconds are expected, not milliseconds")
    return seconds


def _instant(value: object) -> float:
    if isinstance(value, datetime):
        return _utc(value).timestamp()
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC).timestamp()
    text = str(value).strip()
    number = _float(text)
    if number is None:
        return _from_iso(text)
    if not math.isfinite(number):
        raise ValueError("is NaN or infinite")
    return number


def _float(text: str) -> float | None:
    """Return the number, None if it is none; ``1_000`` is a number in Python alone."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _from_iso(text: str) -> float:
    try:
        return _utc(datetime.fromisoformat(text)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(_FORM) from None


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
