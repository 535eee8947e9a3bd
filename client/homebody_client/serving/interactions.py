"""What a list is made from: the person's own events, as the read gate gave them."""

import math
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final

from homebody_client.light_dataclass import dataclass

Value = str | int | float | bool | None
"""What a field of a stored row can hold."""

INTEREST: Final[Mapping[str, float]] = MappingProxyType(
    {
        "impression": 0.0,
        "product_view": 1.0,
        "view": 1.0,
        "search": 1.0,
        "dwell": 0.5,
        "click": 1.0,
        "add_to_cart": 2.0,
        "purchase": 2.0,
        "transaction": 2.0,
        "rating": 1.0,
        "like": 2.0,
        "dislike": 0.0,
        "dismiss": 0.0,
        "feature_used": 1.0,
        "email_open": 1.0,
    }
)
"""How much one event says about what interests the person now; others say nothing."""

VIEWS: Final = frozenset({"product_view", "view", "click", "search", "dwell", "email_open"})
"""Events of looking: a product looked at ten times is one entry of the model's history."""

CHOICES: Final = frozenset(
    {"purchase", "transaction", "add_to_cart", "rating", "like", "feature_used"}
)
"""Events of choosing: each is an entry of the model's history."""

OPINIONS: Final = frozenset({"like", "dislike", "dismiss", "rating"})
"""Events in which the person says what they think of a product."""

_OPINION: Final[Mapping[str, float]] = MappingProxyType(
    {"like": 1.0, "dislike": -2.0, "dismiss": -1.5}
)
_MIDDLE_RATING: Final = 2.5  # of 0 to 5, as in the event vocabulary
_LAST_HOUR: Final = 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One event about one product. Secret.

    Attributes:
        product_id: The product.
        event: What happened, a name of the event vocabulary.
        at: Unix seconds.
        hour: Hour of the day where the person was, 0 to 23; None if not collected.
        device: Kind of device, such as ``mobile``; None if not collected.
        value: Rating from 0 to 5 of a ``rating``; None for none.
    """

    product_id: str = field(repr=False)
    event: str = field(repr=False)
    at: float = field(repr=False)
    hour: int | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)
    value: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no event can say."""
        if not self.product_id or not self.event:
            raise ValueError("product_id and event must not be empty")
        if not math.isfinite(self.at):
            raise ValueError("at must be finite")
        if self.hour is not None and not 0 <= self.hour <= _LAST_HOUR:
            raise ValueError("hour must be in 0..23")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError("value must be finite")

    def opinion(self) -> float | None:
        """Return what the person said of the product: above 0 liked, below 0 not; None if nothing.

        Examples:
            >>> Interaction(product_id="a", event="rating", at=0.0, value=5.0).opinion()
            1.0
            >>> Interaction(product_id="a", event="purchase", at=0.0).opinion()
        """
        if self.event == "rating" and self.value is not None:
            return max(-1.0, min(1.0, self.value / _MIDDLE_RATING - 1.0))
        return _OPINION.get(self.event)


def interaction_of(values: Mapping[str, Value], at: float) -> Interaction | None:
    """Return what a row says about a product; None if it is about none.

    Args:
        values: What is kept of the event. Secret.
        at: When it happened, Unix seconds.

    Returns:
        Fields a group does not keep are None: without ``hour`` there are no habits of the hour.
    """
    product, event = values.get("product_id") or values.get("feature"), values.get("event")
    if not isinstance(product, str) or not isinstance(event, str) or not product or not event:
        return None
    hour, device, rating = values.get("hour"), values.get("device"), values.get("rating")
    return Interaction(
        product_id=product,
        event=event,
        at=at,
        hour=hour if isinstance(hour, int) and 0 <= hour <= _LAST_HOUR else None,
        device=device if isinstance(device, str) else None,
        value=float(rating) if isinstance(rating, int | float) else None,
    )
