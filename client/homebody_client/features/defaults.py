"""The features of a shop, to start from."""

from typing import Final

from .spec import FeatureSpec

_LOOKS: Final = ("product_view", "add_to_cart", "purchase", "dwell")
_SAYS: Final = (*_LOOKS, "rating", "like", "dislike", "dismiss")


def _spec(name: str, kind: str, events: tuple[str, ...], days: int, half: float = 0) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        group="purchases",
        events=events,
        kind=kind,
        window_days=days,
        purposes=("recommend",),
        ttl_days=min(days, 30),
        half_life_days=half,
    )


DEFAULT_SPECS: Final = (
    _spec("days_since_purchase", "recency", ("purchase",), 365),
    _spec("purchases_90d", "frequency", ("purchase",), 90),
    _spec("views_7d", "frequency", ("product_view",), 7),
    _spec("spent_90d", "monetary", ("purchase",), 90),
    _spec("category_affinity_90d", "category_affinity", _SAYS, 90, 30),
    _spec("sessions_30d", "session", _LOOKS, 30),
    _spec("hours_30d", "time_of_day", _LOOKS, 30),
    _spec("price_bands_180d", "price_band", ("add_to_cart", "purchase"), 180),
    _spec("devices_30d", "device", _LOOKS, 30),
    _spec("role", "role", ("session_start", "feature_used"), 365),
)
"""Features of a shop whose group ``purchases`` lists what they need; a field it does not list adds
nothing, and the feature stays empty."""
