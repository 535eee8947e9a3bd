"""Translate what other systems export into the vocabulary.

Only what these tables name is read: no free text of a ticket, no page address, no name, no e-mail
address, no IP address, no cookie. Ids that a system gives its own lines are left aside as well, so
that one thing told by two systems has one ``event_id``.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

_MOST_MS: Final = 4_102_444_800_000  # the year 2100


class NotReadError(Exception):
    """A line whose kind or time cannot be understood. The message holds no value."""

    def __init__(self, message: str, fix: str) -> None:
        """Keep what is wrong and what helps."""
        super().__init__(message)
        self.fix = fix


_WEB_EVENTS: Final = {
    "product list viewed": "impression",
    "product impression": "impression",
    "product viewed": "product_view",
    "products searched": "search",
    "product added": "add_to_cart",
    "order completed": "purchase",
    "product rated": "rating",
    "product liked": "like",
    "product disliked": "dislike",
    "product dismissed": "dismiss",
    "product dwelled": "dwell",
    "payment made": "transaction",
    "feature used": "feature_used",
    "email opened": "email_open",
    "session started": "session_start",
    "session ended": "session_end",
}
_WEB_FIELDS: Final = {
    "product_id": "product_id",
    "sku": "product_id",
    "category": "category",
    "price": "price",
    "quantity": "quantity",
    "currency": "currency",
    "order_id": "order_id",
    "position": "position",
    "list_id": "surface",
    "recommendation_id": "recommendation_id",
    "query": "query",
    "results": "results",
    "rating": "rating",
    "seconds": "seconds",
    "amount": "amount",
    "merchant": "merchant",
    "feature": "feature",
    "role": "role",
    "campaign_id": "campaign_id",
    "session_id": "session_id",
}
_CRM_EVENTS: Final = {
    "product interest": "product_view",
    "search": "search",
    "opportunity": "add_to_cart",
    "order": "purchase",
    "survey": "rating",
    "positive feedback": "like",
    "negative feedback": "dislike",
    "opt-out of product": "dismiss",
    "payment": "transaction",
    "feature adoption": "feature_used",
    "email open": "email_open",
}
_CRM_FIELDS: Final = {
    "product code": "product_id",
    "product family": "category",
    "unit price": "price",
    "quantity": "quantity",
    "currency": "currency",
    "order number": "order_id",
    "search phrase": "query",
    "score": "rating",
    "amount": "amount",
    "merchant": "merchant",
    "feature": "feature",
    "job role": "role",
    "campaign id": "campaign_id",
    "channel device": "device",
}
_TICKET_EVENTS: Final = {
    "question": "product_view",
    "help center search": "search",
    "reservation": "add_to_cart",
    "order": "purchase",
    "satisfaction": "rating",
    "praise": "like",
    "complaint": "dislike",
    "do not show": "dismiss",
    "feature question": "feature_used",
}
_TICKET_FIELDS: Final = {
    "product sku": "product_id",
    "product category": "category",
    "unit price": "price",
    "quantity": "quantity",
    "currency": "currency",
    "order reference": "order_id",
    "search terms": "query",
    "satisfaction score": "rating",
    "feature": "feature",
    "requester role": "role",
    "via device": "device",
}
_NUMBERS: Final = frozenset(
    {"price", "quantity", "position", "results", "rating", "seconds", "amount"}
)
_WEB_DEVICES: Final = {"smartphone": "mobile", "phone": "mobile", "computer": "desktop"}
_is_number: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?\Z").match


def from_web(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event of a track call, its time in RFC 3339 or in Unix milliseconds."""
    event = _kind(row.get("event"), _WEB_EVENTS, "event")
    found = {"user_id": row.get("userId"), "event": event}
    properties = row.get("properties")
    if isinstance(properties, dict):
        for name, value in properties.items():
            if name in _WEB_FIELDS and value is not None:
                found[_WEB_FIELDS[name]] = value
    context = row.get("context")
    device = context.get("device") if isinstance(context, dict) else None
    kind = device.get("type") if isinstance(device, dict) else None
    if isinstance(kind, str):
        found["device"] = _WEB_DEVICES.get(kind.lower(), kind.lower())
    found["timestamp"] = _web_time(row.get("timestamp"))
    return found


def from_crm(row: Mapping[str, Any], *, offset: str = "") -> dict[str, Any]:
    """Return the event of a line of a CRM's export."""
    event = _kind(row.get("activity type"), _CRM_EVENTS, "column activity type")
    found = {"user_id": row.get("contact id", ""), "event": event}
    found |= _columns(row, _CRM_FIELDS)
    return found | {"timestamp": _time(row.get("activity date", ""), offset)}


def from_ticket(row: Mapping[str, Any], *, offset: str = "") -> dict[str, Any]:
    """Return the event of a line of a help desk's export."""
    event = _kind(row.get("type"), _TICKET_EVENTS, "column type")
    found = {"user_id": row.get("requester id", ""), "event": event}
    found |= _columns(row, _TICKET_FIELDS)
    return found | {"timestamp": _time(row.get("created at", ""), offset)}


def _kind(value: object, known: Mapping[str, str], where: str) -> str:
    event = known.get(value.strip().lower()) if isinstance(value, str) else None
    if event is None:
        raise NotReadError(f"{where} is missing or unknown", f"use one of {', '.join(known)}")
    return event


def _columns(row: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the filled columns that the vocabulary knows, numbers as numbers."""
    found: dict[str, Any] = {}
    for column, name in names.items():
        text = row.get(column, "").strip()
        if text:
            found[name] = _number(text) if name in _NUMBERS else text
    return found


def _number(text: str) -> int | float | str:
    """Return a number; text that is none stays text, which the vocabulary then refuses."""
    if not _is_number(text):
        return text
    return float(text) if "." in text else int(text)


def _time(text: str, offset: str) -> str:
    """Return a time of an export in RFC 3339, as far as it is one."""
    stamp = text.strip().replace(" ", "T", 1)
    has_offset = stamp.endswith("Z") or re.search(r"[+-][0-9]{2}:[0-9]{2}\Z", stamp)
    return stamp if has_offset else stamp + offset


def _web_time(value: object) -> object:
    """Return Unix milliseconds in RFC 3339; a text as it is."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_MS:
        moment = datetime.fromtimestamp(value // 1000, UTC)
        fraction = f".{value % 1000:03d}" if value % 1000 else ""
        return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
    return value
