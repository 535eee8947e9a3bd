"""One event: read strictly, given back as it came, silent about what it holds."""

import json
from typing import Any

import pytest

from homebody_client.events import EVENTS, Event, event_json, parse_event
from homebody_privacy.errors import UsageError

from .event_examples import NOW, SEED, WRONG, fullest, smallest


def _refused(data: Any, *, mode: Any = "strict", now: float = NOW) -> UsageError:  # noqa: ANN401  # of any shape
    with pytest.raises(UsageError) as caught:
        parse_event(data, now=now, mode=mode)
    return caught.value


def test_s25_the_seeds_event_parses_and_comes_back_byte_for_byte() -> None:
    text = json.dumps(SEED)
    for data in (SEED, text, text.encode()):
        assert json.dumps(event_json(parse_event(data, now=NOW))) == text


def test_s25_the_seeds_event_says_what_it_said() -> None:
    event = parse_event(SEED, now=NOW)
    assert (event.event, event.user_id, event.source) == ("product_view", "12345", "app")
    assert event.timestamp == 1_778_841_900.0
    assert dict(event.fields) == {"product_id": "SKU-987", "device": "mobile"}
    assert dict(event.ext) == {}


def test_s25_an_unknown_field_is_refused_or_kept_apart() -> None:
    odd = {**SEED, "prodct_id": "SKU-1", "colour": {"deep": ["red", 1, None]}}
    error = _refused(odd)
    assert "did you mean product_id?" in error.fix
    event = parse_event(odd, now=NOW, mode="lax")
    assert dict(event.ext) == {"prodct_id": "SKU-1", "colour": {"deep": ["red", 1, None]}}
    assert dict(event.fields) == {"product_id": "SKU-987", "device": "mobile"}
    assert json.dumps(event_json(event)) == json.dumps(odd)


def test_s25_a_field_of_another_kind_of_event_is_unknown() -> None:
    _refused({**SEED, "rating": 4})


def test_s25_a_time_without_offset_is_refused_with_its_fix() -> None:
    for text in ("2026-05-15T10:45:00", "2026-05-15 10:45:00"):
        error = _refused({**SEED, "timestamp": text})
        assert str(error) == "product_view: field timestamp has no offset"
        assert "add Z for UTC" in error.fix


def test_s25_a_day_ahead_is_the_most() -> None:
    at = parse_event(SEED, now=NOW).timestamp
    parse_event(SEED, now=at - 86_400)
    error = _refused(SEED, now=at - 86_401)
    assert str(error) == "product_view: field timestamp is more than 24 h ahead"
    assert "clock" in error.fix


def test_s25_no_clock_at_all_lets_nothing_in() -> None:
    _refused(SEED, now=float("nan"))


@pytest.mark.parametrize("kind", EVENTS)
def test_s26_each_kind_has_a_valid_example(kind: str) -> None:
    for example in (smallest(kind), fullest(kind)):
        assert event_json(parse_event(example, now=NOW)) == example


@pytest.mark.parametrize("kind", EVENTS)
def test_s26_each_kind_has_invalid_examples(kind: str) -> None:
    for name in ("user_id", "timestamp", *EVENTS[kind].required):
        short = fullest(kind)
        del short[name]
        assert f"field {name} is missing" in str(_refused(short))
    for name in set(EVENTS[kind].fields) & WRONG.keys():
        for value in WRONG[name]:
            error = _refused({**fullest(kind), name: value})
            assert f"field {name} " in str(error)
            assert error.fix.startswith(("give ", "add Z"))


def test_s26_the_kinds_are_fifteen() -> None:
    words = """impression product_view search add_to_cart purchase rating like dislike dismiss
    dwell transaction feature_used email_open session_start session_end"""
    assert set(EVENTS) == set(words.split())


@pytest.mark.parametrize("kind", [None, "", "Purchase", "buy", 7, ["purchase"], {}])
def test_an_unknown_kind_is_refused_in_both_modes(kind: object) -> None:
    for mode in ("strict", "lax"):
        assert "use one of impression, " in _refused({**SEED, "event": kind}, mode=mode).fix


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        "12",
        "null",
        '"text"',
        "{",
        '{"event": NaN}',
        "[" * 60_000,
        '{"a":' * 10_000,
        "1" * 5_000,
        b"\xff\xfe",
        b"\x00",
        json.dumps(SEED).encode("utf-8") + b"\xff",
        json.dumps(SEED) + "x",
        json.dumps(SEED)[:-1] + ', "event": "purchase"}',
        " " * 70_000 + json.dumps(SEED),
        None,
        17,
        [SEED],
        {1: 2},
        {b"event": "purchase"},
    ],
)
def test_what_is_no_json_object_is_refused(data: object) -> None:
    assert _refused(data).fix
    assert _refused(data, mode="lax").fix


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        10**30,
        b"bytes",
        {1: 2},
        {"\ud800": 1},
        "\udfff",
        object(),
        "x" * 20_000,
        [0] * 300,
        [[[[[[[[[[1]]]]]]]]]],
    ],
)
def test_lax_mode_keeps_plain_json_of_bounded_size_alone(value: object) -> None:
    error = _refused({**SEED, "extra": value}, mode="lax")
    assert "not plain JSON, too deep or too large" in str(error)


def test_an_event_shows_its_kind_and_source_alone() -> None:
    event = parse_event({**SEED, "secret": 1}, now=NOW, mode="lax", source="web")
    assert repr(event) == "Event(event='product_view', source='web')"


def test_an_event_is_its_own_copy() -> None:
    data = {**SEED, "more": {"list": [1]}}
    event = parse_event(data, now=NOW, mode="lax")
    data["more"]["list"].append(2)  # type: ignore[index]  # a dictionary of mixed values
    data["user_id"] = "other"
    event_json(event)["more"]["list"].append(3)
    assert event_json(event) == {**SEED, "more": {"list": [1]}}
    assert event.ext["more"] == {"list": [1]}


def test_no_source_and_no_kind_of_event_can_be_made_up() -> None:
    with pytest.raises(ValueError, match="source must be one of app, web, crm, tickets, api"):
        parse_event(SEED, now=NOW, source="camera")
    good = parse_event(SEED, now=NOW)
    with pytest.raises(ValueError, match="event must be one of the vocabulary"):
        Event(
            event="stare",
            user_id="1",
            timestamp=good.timestamp,
            event_id="1",
            source="app",
            fields={},
            ext={},
            given={},
        )


def test_an_id_that_was_given_is_kept() -> None:
    assert parse_event({**SEED, "event_id": "e-17"}, now=NOW).event_id == "e-17"


def test_a_derived_id_follows_from_what_is_said_not_from_how() -> None:
    base = {**smallest("purchase"), "quantity": 2, "price": 3.0}
    first = parse_event(base, now=NOW).event_id
    assert len(first) == 64
    same = [
        dict(reversed(base.items())),
        {**base, "quantity": 2.0, "price": 3},
        {**base, "timestamp": "2026-05-15T12:45:00+02:00"},
        {**base, "timestamp": "2026-05-15T10:45:00.000Z"},
    ]
    assert {parse_event(event, now=NOW).event_id for event in same} == {first}
    other = [
        {**base, "user_id": "12346"},
        {**base, "event": "add_to_cart"},
        {**base, "timestamp": "2026-05-15T10:45:00.001Z"},
        {**base, "product_id": "SKU-988"},
        {**base, "device": "mobile"},
    ]
    ids = {parse_event(event, now=NOW).event_id for event in other}
    assert len(ids | {first}) == 1 + len(other)
