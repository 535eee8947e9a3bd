"""Parser and JSON Schema come from one table, and agree on everything a schema can say."""

import importlib
import json
from typing import Any

import pytest
from hypothesis import example, given, settings

from homebody_client.events import EVENTS, event_schema, parse_event
from homebody_client.events.rules import Text
from homebody_client.events.schema import DIALECT
from homebody_privacy.errors import UsageError

from .event_examples import END_OF_TIME, SEED, WRONG, anything, fullest, near_events, smallest

_jsonschema = importlib.import_module("jsonschema")  # it ships no types
_STRICT = _jsonschema.Draft202012Validator(event_schema())
_LAX = _jsonschema.Draft202012Validator(event_schema("lax"))


def _parses(data: Any, mode: Any) -> bool:  # noqa: ANN401  # any JSON
    try:
        parse_event(data, now=END_OF_TIME, mode=mode)
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("mode", ["strict", "lax"])
def test_s26_the_schema_is_one_of_2020_12_and_plain_json(mode: Any) -> None:  # noqa: ANN401  # a literal
    schema = event_schema(mode)
    assert schema["$schema"] == DIALECT
    _jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("kind", EVENTS)
def test_s26_schema_and_parser_agree_on_examples(kind: str) -> None:
    examples = [(smallest(kind), True), (fullest(kind), True)]
    examples += [({**fullest(kind), "colour": "red"}, False)]
    for name in fullest(kind):
        rest = {key: value for key, value in fullest(kind).items() if key != name}
        examples.append((rest, name not in {"event", "user_id", "timestamp", *_required(kind)}))
        examples += [({**fullest(kind), name: value}, False) for value in WRONG.get(name, [])]
    for data, right in examples:
        assert _STRICT.is_valid(data) is right
        assert _parses(data, "strict") is right


def _required(kind: str) -> tuple[str, ...]:
    return EVENTS[kind].required


@settings(max_examples=250)
@given(near_events())
@example(SEED)
@example({**SEED, "product_id": "a\n"})
@example({**SEED, "product_id": "a\u2028\x85"})
@example({**fullest("purchase"), "quantity": 2.0})
@example({**fullest("purchase"), "quantity": -0.0})
@example({**SEED, "timestamp": "2000-02-29T23:59:59.123456789+23:59"})
@example({**SEED, "timestamp": "2099-12-31T23:59:59-23:59"})
@example({**SEED, "timestamp": "1970-01-01T00:00:00+23:59"})
def test_s26_schema_and_parser_agree_on_near_events(data: dict[str, Any]) -> None:
    assert _parses(data, "strict") is _STRICT.is_valid(data)


@settings(max_examples=100)
@given(anything())
def test_s26_schema_and_parser_agree_on_any_json(data: Any) -> None:  # noqa: ANN401  # any JSON
    assert _parses(data, "strict") is _STRICT.is_valid(data)


@settings(max_examples=100)
@given(near_events())
def test_what_lax_mode_reads_fits_the_lax_schema(data: dict[str, Any]) -> None:
    if _parses(data, "lax"):
        assert _LAX.is_valid(data)


def test_a_rule_that_nothing_can_follow_cannot_be_made() -> None:
    for rule in ({"most": 0}, {"most": 3, "pattern": "^[A-Z]$"}):
        with pytest.raises(ValueError, match="must end with END"):
            Text(**rule)


def test_every_leap_day_is_known() -> None:
    for year in range(1970, 2100):
        leap = year % 4 == 0  # 2000 is one; no other century lies between
        data = {**SEED, "timestamp": f"{year}-02-29T00:00:00Z"}
        assert _parses(data, "strict") is leap
        assert _STRICT.is_valid(data) is leap
