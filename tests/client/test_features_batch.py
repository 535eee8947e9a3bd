"""Features computed by hand, and the same by ``compute``."""

import json
from typing import Any

import pytest

from homebody_client.features import DEFAULT_SPECS, KINDS, FeatureSpec, Row, compute

from .feature_rows import DAY, T0, Kept, row, spec

_TABLE = [
    row(0.0, "product_view", category="tea", price=4.0, currency="EUR", device="mobile", hour=9),
    row(2.0, "purchase", category="tea", price=4.0, quantity=3, currency="EUR", device="mobile"),
    row(5.0, "product_view", category="bread", price=2.5, device="desktop", hour=9),
    row(5.01, "product_view", category="tea", price=30.0, device="mobile", hour=10),
    row(5.02, "purchase", category="coffee", price=9.99, currency="USD", role="marketer", hour=9),
    row(9.0, "dislike", category="coffee"),
]
_END = T0 + 6 * DAY


def _value(wanted: FeatureSpec, rows: list[Any], at: float = _END) -> Any:  # noqa: ANN401  # compared with plain JSON
    made: list[Row] = rows
    value = compute(wanted, made, at)
    assert json.loads(json.dumps(value)) == value
    return value


def test_s28_recency_is_days_since_the_newest_event() -> None:
    assert _value(spec("recency", "purchase"), _TABLE) == pytest.approx(0.98)
    assert _value(spec("recency", "product_view"), _TABLE[:1]) == pytest.approx(6.0)
    assert _value(spec("recency", "like"), _TABLE) == 10.0  # none: the whole window


def test_s28_frequency_counts_events() -> None:
    assert _value(spec("frequency", "product_view"), _TABLE) == 3.0
    assert _value(spec("frequency", "purchase"), _TABLE) == 2.0
    assert _value(spec("frequency", "purchase", window_days=4, ttl_days=4), _TABLE) == 1.0


def test_s28_monetary_adds_price_times_quantity_by_currency() -> None:
    assert _value(spec("monetary", "purchase"), _TABLE) == {"EUR": 12.0, "USD": 9.99}
    assert _value(spec("monetary", "product_view"), _TABLE) == {"": 32.5, "EUR": 4.0}


def test_s28_monetary_adds_amounts_and_takes_refunds_off() -> None:
    rows = [
        row(0, "transaction", amount=0.1, currency="EUR"),
        row(1, "transaction", amount=0.2, currency="EUR"),
        row(2, "transaction", amount=-0.3, currency="EUR"),
        row(3, "transaction", currency="EUR"),
        row(4, "transaction", amount=5.0),
    ]
    assert _value(spec("monetary", "transaction"), rows) == {"": 5.0, "EUR": 0.0}


def test_s28_category_affinity_is_the_share_of_liking() -> None:
    everything = ("product_view", "purchase", "dislike")
    assert _value(spec("category_affinity", *everything), _TABLE) == {
        "bread": pytest.approx(1 / 9),
        "coffee": pytest.approx(3 / 9),
        "tea": pytest.approx(5 / 9),
    }
    later = T0 + 9.5 * DAY  # the dislike takes the purchase of coffee back
    assert _value(spec("category_affinity", *everything), _TABLE, later) == {
        "bread": pytest.approx(1 / 6),
        "tea": pytest.approx(5 / 6),
    }


def test_s28_newer_liking_counts_more() -> None:
    rows = [row(0, "like", category="tea"), row(2, "like", category="bread")]
    halved = spec("category_affinity", "like", half_life_days=2)
    assert _value(halved, rows, T0 + 2 * DAY) == {
        "bread": pytest.approx(2 / 3),
        "tea": pytest.approx(1 / 3),
    }


def test_s28_a_like_taken_back_leaves_no_crumb() -> None:
    rows = [row(0, "like", category="tea"), row(0, "dislike", category="tea")]
    halved = spec("category_affinity", "like", "dislike", half_life_days=1.7)
    assert _value(halved, rows) == {}
    assert _value(halved, [*rows, row(1, "rating", category="tea", rating=2.5)]) == {}


def test_s28_sessions_end_after_half_an_hour() -> None:
    now = T0 + 5.03 * DAY
    value = _value(spec("session"), _TABLE, now)
    assert value == {
        "count": 3.0,
        "events": 3.0,
        "seconds": pytest.approx(0.03 * DAY),
        "shares": {
            "bread": pytest.approx(1 / 3),
            "coffee": pytest.approx(1 / 3),
            "tea": pytest.approx(1 / 3),
        },
    }
    idle = _value(spec("session"), _TABLE, T0 + 5.02 * DAY + 1_801)
    assert idle == {"count": 3.0, "events": 0.0, "seconds": 0.0, "shares": {}}
    assert _value(spec("session"), []) == {"count": 0, "events": 0, "seconds": 0, "shares": {}}


def test_s28_time_of_day_is_the_share_of_hours() -> None:
    assert _value(spec("time_of_day"), _TABLE) == {
        "0": pytest.approx(1 / 5),  # no hour: that of its time, midnight in UTC
        "10": pytest.approx(1 / 5),
        "9": pytest.approx(3 / 5),
    }


def test_s28_time_of_day_does_not_invent_an_hour_for_a_day() -> None:
    rows = [Kept(T0, {"event": "purchase", "day": 20_588})]
    assert _value(spec("time_of_day"), rows) == {}


def test_s28_price_band_is_the_share_of_bands() -> None:
    assert _value(spec("price_band"), _TABLE) == {
        "0-5": pytest.approx(3 / 5),
        "20-50": pytest.approx(1 / 5),
        "5-10": pytest.approx(1 / 5),
    }
    rows = [row(0, price_band="100-200"), row(1, price=-1.0), row(2)]
    assert _value(spec("price_band"), rows) == {"100-200": 1.0}


def test_s28_device_is_the_share_of_devices() -> None:
    assert _value(spec("device"), _TABLE) == {"desktop": 0.25, "mobile": 0.75}


def test_s47_role_is_the_newest_one() -> None:
    uses = ("session_start", "feature_used")
    rows = [row(0, "session_start", role="marketer"), row(1, "feature_used", role="sales_rep")]
    assert _value(spec("role", *uses), rows) == {"sales_rep": 1.0}
    assert _value(spec("role", *uses), [*rows, row(2, "feature_used")]) == {"sales_rep": 1.0}
    assert _value(spec("role", *uses), []) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_s28_the_window_ends_at_the_time_asked_and_its_beginning_is_outside(kind: str) -> None:
    full = {"category": "tea", "price": 3.0, "device": "tv", "role": "r", "hour": 3}
    edges = [row(0, "purchase", **full), row(10, "purchase", **full)]
    inside = _value(spec(kind), edges, T0 + 10 * DAY)
    assert inside == _value(spec(kind), edges[1:], T0 + 10 * DAY)
    assert inside != _value(spec(kind), [], T0 + 10 * DAY)
    assert _value(spec(kind), edges, T0 - 1) == _value(spec(kind), [], T0 - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_s28_rows_of_other_groups_and_kinds_are_not_read(kind: str) -> None:
    full = {"category": "tea", "price": 3.0, "device": "tv", "role": "r", "hour": 3}
    mine = row(5, "purchase", **full)
    others = [Kept(mine.at, mine.values, "tastes"), row(5, "search", **full)]
    assert _value(spec(kind), others) == _value(spec(kind), [])
    assert _value(spec(kind), [*others, mine]) == _value(spec(kind), [mine])


@pytest.mark.parametrize("wanted", DEFAULT_SPECS, ids=lambda wanted: wanted.name)
def test_s28_each_default_feature_has_a_value_without_rows(wanted: FeatureSpec) -> None:
    _value(wanted, [])
