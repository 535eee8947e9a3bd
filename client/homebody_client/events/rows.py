"""What of an event reaches the store: the listed fields of a feature group, and no more.

``user_id``, ``event_id`` and unknown fields are in no row, whatever a config lists. Time is kept as
coarsely as the group asks: a group that lists ``day`` and not ``timestamp`` keeps days.
"""

import bisect
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from .event import Event
from .vocabulary import EVENTS, FIELDS

Value = str | int | float | bool | None

DAY_S: Final = 86_400
HOUR_S: Final = 3_600

PRICE_BANDS: Final = (5, 10, 20, 50, 100, 200, 500, 1_000)
"""Upper ends of the bands of price, in the currency of the catalog."""

_QUANTITIES: Final = {1: "1", 2: "2", 3: "3-5", 6: "6-10", 11: "11+"}
_NEUTRAL_STARS: Final = 2.5

# What an event is about; then what is said of it; all else is circumstance.
_SUBJECTS: Final = frozenset(
    {"product_id", "query", "topic", "amount", "merchant", "feature", "campaign_id", "role"}
)
_ATTRIBUTES: Final = frozenset(
    {"category", "price", "price_band", "quantity", "quantity_bucket", "rating", "order_id"}
)


def event_weight(event: str, rating: object = None) -> float:
    """Return how much an event speaks for what it is about, from -3 to 3.

    Args:
        event: Its kind; 0 for one the vocabulary does not know.
        rating: Stars of a rating, 0 to 5; None counts as no opinion.

    Examples:
        >>> event_weight("like"), event_weight("rating", 5), event_weight("rating", 0)
        (3.0, 3.0, -3.0)
    """
    if event == "rating" and isinstance(rating, int | float):
        return 3.0 * (rating / _NEUTRAL_STARS - 1.0)
    kind = EVENTS.get(event)
    return 0.0 if kind is None else kind.weight


def price_band(price: float) -> str:
    """Return the band of a price, such as ``10-20``; the upper end belongs to the next band."""
    at = bisect.bisect_right(PRICE_BANDS, price)
    low = 0 if at == 0 else PRICE_BANDS[at - 1]
    return f"{low}-{PRICE_BANDS[at]}" if at < len(PRICE_BANDS) else f"{low}+"


def _hour(event: Event, utc_offset_s: int) -> int:
    """Return the hour on the person's clock: as written, or from UTC by the device's offset."""
    written: str = event.given["timestamp"]
    if written.endswith("Z"):
        return int((event.timestamp + utc_offset_s) // HOUR_S % 24)
    return int(written[11:13])


def _category(event: Event, item: Mapping[str, Any]) -> Value:
    found = event.fields.get("category", item.get("category"))
    return found if isinstance(found, str) and found else None


def _price_band(event: Event, item: Mapping[str, Any]) -> Value:
    price = event.fields.get("price", item.get("price"))
    if not isinstance(price, int | float) or not price >= 0:
        return None
    return price_band(price)


def _quantity_bucket(event: Event, _: Mapping[str, Any]) -> Value:
    quantity = event.fields.get("quantity", 1 if event.event == "purchase" else None)
    if quantity is None:
        return None
    return next(name for low, name in reversed(_QUANTITIES.items()) if quantity >= low)


def _topics(event: Event, item: Mapping[str, Any]) -> tuple[str, ...]:
    topics = tuple(item.get("topics") or ())
    category = _category(event, item)
    return topics or ((category,) if isinstance(category, str) else ())


_DERIVED: Final[Mapping[str, Callable[[Event, Mapping[str, Any]], Value]]] = {
    "timestamp": lambda event, _: event.timestamp,
    "day": lambda event, _: int(event.timestamp // DAY_S),
    "hour": lambda event, _: _hour(event, 0),
    "category": _category,
    "price_band": _price_band,
    "quantity_bucket": _quantity_bucket,
    "topic": lambda event, item: next(iter(_topics(event, item)), None),
    "weight": lambda event, _: event_weight(event.event, event.fields.get("rating")),
    "source": lambda event, _: event.source,
}

ROW_FIELDS: Final = (frozenset(FIELDS) | frozenset(_DERIVED)) - {"user_id", "event_id"} | {"event"}
"""Every field a feature group can list."""


def row_values(
    event: Event,
    fields: Sequence[str],
    item: Mapping[str, Any] | None = None,
    *,
    utc_offset_s: int = 0,
) -> dict[str, Value]:
    """Return the row that a feature group keeps of an event.

    Args:
        event: What happened. Secret.
        fields: What the group lists; names no row can have are passed over.
        item: What the catalog says of the product: ``category``, ``price``, ``topics``. Public.
        utc_offset_s: Seconds the person's clock is ahead of UTC; it makes ``hour`` of a time that
            was written in UTC. A time written with another offset shows the person's clock.

    Returns:
        The listed fields the event has, and its kind as ``event``. Empty if the event is not the
        group's: it says nothing of what the group is about. Secret.
    """
    known = item or {}
    row: dict[str, Value] = {}
    for name in fields:
        if name in ROW_FIELDS:
            derive = _DERIVED.get(name)
            value = event.fields.get(name) if derive is None else derive(event, known)
            if value is not None:
                row[name] = value
    row.pop("event", None)
    if "hour" in row:
        row["hour"] = _hour(event, utc_offset_s)
    asked = _asked(tuple(fields))
    said = not asked.isdisjoint(row) if asked else bool(row)
    return {"event": event.event, **row} if said else {}


@functools.lru_cache(maxsize=256)
def _asked(fields: tuple[str, ...]) -> frozenset[str]:
    """Return the fields of which a row must have one: what a group is about, or says of it."""
    return _SUBJECTS.intersection(fields) or _ATTRIBUTES.intersection(fields)


def _plain(value: object) -> str:
    return str(value).strip().casefold()


def row_time(event: Event, fields: Iterable[str]) -> float:
    """Return the time a row is kept under, as exact as its group asks.

    Returns:
        Unix seconds: exact where ``timestamp`` is listed, else the start of the hour where ``hour``
        is, else the start of the day (UTC).
    """
    listed = set(fields)
    if "timestamp" in listed:
        return event.timestamp
    step = HOUR_S if "hour" in listed else DAY_S
    return float(event.timestamp // step * step)


def is_excluded(
    event: Event, exclude: Iterable[str], item: Mapping[str, Any] | None = None
) -> bool:
    """Return whether an event holds a value that is never to be kept.

    Looks at the whole event and at its item, not only at the fields of the group: a category that
    is never kept excludes the product too. Case and space around do not matter.

    Args:
        event: What happened. Secret.
        exclude: ``field:value`` pairs.
        item: What the catalog says of the product.
    """
    known = item or {}
    for pair in exclude:
        name, _, unwanted = pair.partition(":")
        if name == "topic":
            if _plain(unwanted) in {_plain(topic) for topic in _topics(event, known)}:
                return True
            continue
        derive = _DERIVED.get(name)
        held = {event.fields.get(name), known.get(name) if name == "category" else None}
        held.add(derive(event, known) if derive else None)
        if _plain(unwanted) in {_plain(value) for value in held if value is not None}:
            return True
    return False
