"""What of an event reaches the store: listed fields, coarse times, nothing excluded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_client.events import (
    EVENTS,
    ROW_FIELDS,
    Event,
    event_weight,
    is_excluded,
    parse_event,
    row_time,
    row_values,
)
from homebody_client.events.rows import price_band

from .event_examples import NOW, SEED, fullest, smallest

ITEM = {"category": "Coffee", "price": 12.0, "topics": ["breakfast", "caffeine"]}


def _event(**fields: Any) -> Event:  # noqa: ANN401  # any field
    return parse_event({**SEED, **fields}, now=NOW)


def _kind(kind: str, **fields: Any) -> Event:  # noqa: ANN401  # any field
    return parse_event({**smallest(kind), **fields}, now=NOW)


def test_only_listed_fields_reach_a_row() -> None:
    event = _event(surface="home", position=3)
    assert row_values(event, ["product_id", "day"]) == {
        "event": "product_view",
        "product_id": "SKU-987",
        "day": 20_588,
    }


@pytest.mark.parametrize("kind", EVENTS)
def test_s25_no_list_of_fields_lets_the_person_into_a_row(kind: str) -> None:
    odd = {**fullest(kind), "user_id": "4711-person", "event_id": "4711-id", "more": "4711-more"}
    event = parse_event(odd, now=NOW, mode="lax")
    every = [*ROW_FIELDS, "user_id", "event_id", "ext", "more", "given"]
    row = row_values(event, every, ITEM)
    assert "4711" not in repr(row)
    assert row.keys() <= ROW_FIELDS
    assert not ROW_FIELDS & {"user_id", "event_id", "ext"}
    assert row["event"] == kind
    assert all(isinstance(value, str | int | float) for value in row.values())


def test_derived_fields_are_what_their_names_say() -> None:
    event = _kind("purchase", timestamp="2026-05-15T23:45:00+02:00", quantity=4, price=19.99)
    listed = ["day", "hour", "category", "price_band", "quantity_bucket", "topic", "weight"]
    assert row_values(event, listed, ITEM) == {
        "event": "purchase",
        "day": 20_588,
        "hour": 23,
        "category": "Coffee",
        "price_band": "10-20",
        "quantity_bucket": "3-5",
        "topic": "breakfast",
        "weight": 3.0,
    }


def test_what_the_event_says_goes_before_what_the_item_says() -> None:
    event = _event(category="Tea", price=3)
    row = row_values(
        event, ["category", "price_band", "topic"], {"category": "Coffee", "price": 99}
    )
    assert row == {
        "event": "product_view",
        "category": "Tea",
        "price_band": "0-5",
        "topic": "Tea",
    }


@pytest.mark.parametrize(
    ("quantity", "bucket"),
    [
        (None, "1"),
        (1, "1"),
        (2, "2"),
        (3, "3-5"),
        (5, "3-5"),
        (6, "6-10"),
        (10, "6-10"),
        (11, "11+"),
    ],
)
def test_quantities_fall_into_buckets(quantity: int | None, bucket: str) -> None:
    more = {} if quantity is None else {"quantity": quantity}
    row = row_values(_kind("purchase", **more), ["product_id", "quantity_bucket"])
    assert row["quantity_bucket"] == bucket


def test_only_what_is_bought_has_a_quantity() -> None:
    assert "quantity_bucket" not in row_values(_event(), ["product_id", "quantity_bucket"])


@pytest.mark.parametrize(
    ("price", "band"), [(0, "0-5"), (4.99, "0-5"), (5, "5-10"), (999, "500-1000"), (1_000, "1000+")]
)
def test_prices_fall_into_bands(price: float, band: str) -> None:
    assert price_band(price) == band


def test_a_negative_price_has_no_band() -> None:
    assert row_values(_event(price=-1), ["product_id", "price_band"]).keys() == {
        "event",
        "product_id",
    }


@pytest.mark.parametrize(
    ("kind", "fields", "kept"),
    [
        ("product_view", ["product_id", "category", "day"], True),
        ("search", ["product_id", "category", "day"], False),  # its category is not of a product
        ("transaction", ["product_id", "category", "day"], False),
        ("search", ["query", "day"], True),
        ("product_view", ["query", "day"], False),
        ("transaction", ["category", "day"], True),
        ("session_start", ["category", "day"], False),
        ("session_start", ["hour", "device"], True),
        ("session_start", ["role"], True),
        ("session_end", ["role"], False),
        ("product_view", ["topic", "weight"], True),
        ("transaction", ["amount", "category", "merchant"], True),
        ("product_view", ["nonsense"], False),
        ("product_view", ["event"], False),
        ("product_view", [], False),
    ],
)
def test_an_event_about_something_else_is_no_row_of_a_group(
    kind: str, fields: list[str], *, kept: bool
) -> None:
    event = _kind(kind, **{name: fullest(kind)[name] for name in EVENTS[kind].optional})
    assert bool(row_values(event, fields, None)) is kept


def test_an_item_does_not_make_an_event_of_a_groups_subject() -> None:
    assert row_values(_kind("session_start"), ["product_id", "category"], ITEM) == {}


@given(st.sets(st.sampled_from(sorted(ROW_FIELDS))), st.sampled_from(sorted(EVENTS)))
def test_a_row_holds_listed_fields_and_its_kind_alone(fields: set[str], kind: str) -> None:
    row = row_values(parse_event(fullest(kind), now=NOW), sorted(fields), ITEM)
    assert row.keys() <= fields | {"event"}


def test_an_hour_is_that_of_the_persons_clock() -> None:
    for text, hour in (("10:45:00Z", 10), ("10:45:00+02:00", 10), ("23:45:00-05:00", 23)):
        event = _event(timestamp=f"2026-05-15T{text}")
        assert row_values(event, ["hour"])["hour"] == hour
    utc = _event(timestamp="2026-05-15T22:45:00Z")
    assert row_values(utc, ["hour"], utc_offset_s=7_200)["hour"] == 0
    assert row_values(utc, ["hour"], utc_offset_s=-20_700)["hour"] == 17
    written = _event(timestamp="2026-05-15T22:45:00+01:00")
    assert row_values(written, ["hour"], utc_offset_s=7_200)["hour"] == 22
    assert "hour" not in row_values(utc, ["device"], utc_offset_s=7_200)


def test_time_is_kept_as_coarsely_as_the_group_asks() -> None:
    event = _event(timestamp="2026-05-15T10:45:07.5Z")
    assert row_time(event, ["product_id", "timestamp", "day"]) == event.timestamp
    assert row_time(event, ["product_id", "hour"]) == 1_778_839_200.0  # 10:00
    assert row_time(event, ["product_id", "day"]) == 1_778_803_200.0  # midnight
    assert row_time(event, ["product_id"]) == 1_778_803_200.0


def test_cn_12_cr_19_an_excluded_value_is_found_though_the_group_does_not_list_its_field() -> None:
    event = _event()
    assert is_excluded(event, ["category:Coffee"], ITEM)
    assert is_excluded(_event(category="Other"), ["category:Coffee"], ITEM)
    assert is_excluded(_event(category="Coffee"), ["category:Coffee"], {"category": "Other"})
    assert is_excluded(event, ["topic:caffeine"], ITEM)
    assert is_excluded(_event(category=" COFFEE"), ["category:coffee", "topic:x"], None)
    assert is_excluded(event, ["topic: Caffeine"], ITEM)
    assert is_excluded(event, ["brand:x", "product_id:SKU-987"])
    assert is_excluded(_kind("rating", rating=2), ["rating:2"])
    assert not is_excluded(event, ["category:Tea", "topic:Coffee", "product_id:SKU-98"], ITEM)
    assert not is_excluded(event, [], ITEM)


def test_an_excluded_category_may_hold_a_colon() -> None:
    assert is_excluded(_event(category="A: B"), ["category:A: B"])


def test_weights_speak_for_and_against() -> None:
    assert event_weight("dislike") == -3.0
    assert event_weight("rating", 2.5) == 0.0
    assert event_weight("rating") == 0.0
    assert event_weight("unheard_of") == 0.0
    assert [event_weight("rating", stars) for stars in (0, 5)] == [-3.0, 3.0]
