"""The fifteen kinds of event and their fields: the one table behind parser and JSON Schema.

A product may be anything an app recommends. A negative ``price`` is well formed, so that
``quality`` can name it and put it aside instead of losing it; a negative ``amount`` is a refund.
``device`` is a closed list on purpose: a free text there invites serial numbers and model names
that tell people apart.
"""

from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType
from typing import Final

from .rules import END, Choice, Number, Rule, Text

_LEAP: Final = "19[79][26]|198[048]|20[02468][048]|20[13579][26]"
_DATE: Final = (
    "(?:(?:19[7-9]|20[0-9])[0-9]-(?:"
    "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|(?:{_LEAP})-02-29)"
)
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
_OFFSET: Final = "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"

NAIVE_TIME: Final = f"^{_DATE}[T ]{_CLOCK}{END}"
"""A time without its offset, which nobody can place."""

DEVICES: Final = ("mobile", "tablet", "desktop", "tv", "watch", "car", "speaker", "other")
"""Kinds of device an event can come from."""

FIELDS: Final = MappingProxyType[str, Rule](
    {
        "user_id": Text(128),
        "event_id": Text(128),
        "timestamp": Text(
            35,
            pattern=f"^{_DATE}T{_CLOCK}{_OFFSET}{END}",
            like="a time of RFC 3339 with its offset, such as 2026-05-15T10:45:00Z",
        ),
        "device": Choice(DEVICES),
        "session_id": Text(128),
        "product_id": Text(128),
        "category": Text(128),
        "price": Number(-1_000_000_000, 1_000_000_000),
        "quantity": Number(1, 100_000, whole=True),
        "currency": Text(
            3, pattern=f"^[A-Z]{{3}}{END}", like="a currency of ISO 4217, such as EUR"
        ),
        "order_id": Text(128),
        "surface": Text(32),
        "position": Number(0, 10_000, whole=True),
        "recommendation_id": Text(128),
        "query": Text(256),
        "results": Number(0, 1_000_000_000, whole=True),
        "rating": Number(0, 5),
        "cause": Choice(("not_interested", "already_have", "seen_too_often", "too_personal")),
        "seconds": Number(0, 86_400),
        "amount": Number(-1_000_000_000, 1_000_000_000),
        "merchant": Text(128),
        "feature": Text(64),
        "role": Text(64),
        "campaign_id": Text(128),
    }
)
"""What each field may hold, wherever it appears."""

REQUIRED: Final = ("user_id", "event", "timestamp")
"""Fields of every event."""

OPTIONAL: Final = ("event_id", "device", "session_id")
"""Fields any event may have."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of event.

    Attributes:
        required: Fields it must have besides those of every event.
        optional: Fields it may have besides those of any event.
        weight: How much it speaks for what it is about: 1 a view, negative against. A rating's
            follows from its stars.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    _: KW_ONLY
    weight: float

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field but the name of the event, required ones first."""
        given = tuple(name for name in REQUIRED if name != "event")
        return given + self.required + OPTIONAL + self.optional


_SHOWN: Final = ("surface", "position", "recommendation_id", "category", "price", "currency")
_BOUGHT: Final = ("quantity", "price", "currency", "category", "surface", "recommendation_id")
_JUDGED: Final = ("category", "surface", "recommendation_id")

EVENTS: Final = MappingProxyType(
    {
        "impression": EventType(("product_id",), _SHOWN, weight=0.0),
        "product_view": EventType(("product_id",), _SHOWN, weight=1.0),
        "search": EventType(("query",), ("results", "category"), weight=1.0),
        "add_to_cart": EventType(("product_id",), _BOUGHT, weight=2.0),
        "purchase": EventType(("product_id",), (*_BOUGHT, "order_id"), weight=3.0),
        "rating": EventType(("product_id", "rating"), _JUDGED, weight=0.0),
        "like": EventType(("product_id",), _JUDGED, weight=3.0),
        "dislike": EventType(("product_id",), _JUDGED, weight=-3.0),
        "dismiss": EventType(("product_id",), (*_JUDGED, "cause"), weight=-2.0),
        "dwell": EventType(("product_id", "seconds"), _JUDGED, weight=1.0),
        "transaction": EventType(("amount", "currency"), ("category", "merchant"), weight=1.0),
        "feature_used": EventType(("feature",), ("role", "seconds"), weight=1.0),
        "email_open": EventType(("campaign_id",), ("product_id", "category"), weight=1.0),
        "session_start": EventType((), ("role", "surface"), weight=0.0),
        "session_end": EventType((), ("seconds",), weight=0.0),
    }
)
"""Every kind of event there is."""
