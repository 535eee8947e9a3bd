"""Rows for features, and streams of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

from homebody_client.features import FeatureSpec

DAY: Final = 86_400.0
T0: Final = 1_778_803_200.0
"""2026-05-15, midnight in UTC."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row as the store gives it back."""

    at: float
    values: Mapping[str, str | int | float | bool | None]
    feature: str = field(default="purchases")


def row(days: float, event: str = "product_view", **values: Any) -> Kept:  # noqa: ANN401  # any field
    """Return a row some days after ``T0``, exact to the second."""
    at = T0 + days * DAY
    return Kept(at, {"event": event, "timestamp": at, **values})


def spec(kind: str, *events: str, **changes: Any) -> FeatureSpec:  # noqa: ANN401  # any field
    """Return a spec of a kind over a window of ten days."""
    plain: dict[str, Any] = {
        "name": kind,
        "group": "purchases",
        "events": events or ("product_view", "purchase"),
        "kind": kind,
        "window_days": 10,
        "purposes": ("recommend",),
        "ttl_days": 10,
    }
    return FeatureSpec(**{**plain, **changes})


_EVENTS = st.sampled_from(
    ["product_view", "purchase", "like", "dislike", "dismiss", "rating", "search", "dwell"]
)
_VALUES = st.fixed_dictionaries(
    {"event": _EVENTS},
    optional={
        "category": st.sampled_from(["tea", "coffee", "bread", ""]),
        "price": st.floats(0, 5_000, allow_subnormal=False),
        "quantity": st.integers(1, 50),
        "currency": st.sampled_from(["EUR", "USD"]),
        "amount": st.floats(-5_000, 5_000, allow_subnormal=False),
        "rating": st.floats(0, 5),
        "hour": st.integers(0, 23),
        "price_band": st.sampled_from(["0-5", "5-10"]),
        "device": st.sampled_from(["mobile", "desktop"]),
        "role": st.sampled_from(["marketer", "sales_rep"]),
    },
)


def streams(*, days: float = 30) -> st.SearchStrategy[list[Kept]]:
    """Return rows in any order, many of one moment, some on the edges of windows."""
    moments = st.one_of(
        st.floats(0, days * DAY),
        st.integers(0, int(days)).map(lambda day: day * DAY),
        st.integers(0, int(days) * 48).map(lambda step: step * 1_800.0),
    )
    made = st.builds(
        lambda second, values, group: Kept(T0 + second, values, group),
        moments,
        _VALUES,
        st.sampled_from(["purchases"] * 9 + ["tastes"]),
    )
    return st.lists(made, max_size=40)
