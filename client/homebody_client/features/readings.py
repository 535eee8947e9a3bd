"""What one row adds to a feature: its money, its category, its hour. No sums, no time."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from homebody_client.events.rows import event_weight, price_band

Values = Mapping[str, str | int | float | bool | None]

MILLIONTHS: Final = 1_000_000
"""Money is counted in millionths: whole numbers, so that sums are exact in any order."""


def number(value: object) -> float | None:
    """Return a number of a row; None if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def money(values: Values) -> tuple[str, int] | None:
    """Return currency ("" if unknown) and millionths of what a row spent; None if it has none."""
    spent = number(values.get("amount"))
    if spent is None:
        price = number(values.get("price"))
        if price is None:
            return None
        quantity = number(values.get("quantity"))
        spent = price * (1.0 if quantity is None else quantity)
    return _text(values.get("currency")) or "", round(spent * MILLIONTHS)


def category(values: Values) -> str | None:
    """Return the category of a row; None if it has none."""
    return _text(values.get("category")) or _text(values.get("topic"))


def liking(values: Values) -> tuple[str, float] | None:
    """Return category and weight of a row; None if it says nothing for or against one."""
    name = category(values)
    weight = event_weight(str(values.get("event")), values.get("rating"))
    return (name, weight) if name and weight else None


def _hour(values: Values) -> str | None:
    hour = number(values.get("hour"))
    if hour is None:
        exact = number(values.get("timestamp"))
        if exact is None:
            return None
        hour = exact // 3600 % 24
    return str(int(hour))


def _band(values: Values) -> str | None:
    band = _text(values.get("price_band"))
    price = number(values.get("price"))
    if band is None and price is not None and price >= 0:
        return price_band(price)
    return band


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


LABELS: Final[Mapping[str, Callable[[Values], str | None]]] = MappingProxyType(
    {
        "time_of_day": _hour,
        "price_band": _band,
        "device": lambda values: _text(values.get("device")),
        "role": lambda values: _text(values.get("role")),
    }
)
"""The label that a row counts for, by kind of feature."""
