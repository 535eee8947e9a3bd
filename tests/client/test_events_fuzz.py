"""Whatever comes in, an event or a refusal comes out, and a refusal never repeats what came in."""

import json
import traceback
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.events import Event, event_json, parse_event
from homebody_privacy.errors import UsageError

from .event_examples import NOW, SEED, anything, fullest, near_events

_PLANTED = "s3cr3t-0f-4da"
_MODES: Any = st.sampled_from(["strict", "lax"])


def _try(data: Any, mode: Any) -> Event | None:  # noqa: ANN401  # of any shape
    """Return the event; None after a refusal that keeps the secret, its whole chain included."""
    try:
        return parse_event(data, now=NOW, mode=mode)
    except UsageError as error:
        refusal = error
    told = "".join(traceback.format_exception(refusal)) + refusal.fix
    assert _PLANTED not in told
    assert _PLANTED.encode().hex() not in told
    assert refusal.fix
    return None


@settings(max_examples=200)
@given(anything() | near_events(), _MODES)
def test_any_json_is_an_event_or_a_refusal(data: Any, mode: Any) -> None:  # noqa: ANN401  # any JSON
    event = _try(data, mode)
    text = json.dumps(data)
    assert (event is None) == (_try(text, mode) is None) or len(text) > 65_536
    if event is not None:
        assert event_json(event) == data


@settings(max_examples=120)
@given(st.text(st.characters()) | st.binary(), _MODES)
def test_any_text_and_any_bytes_are_refused_quietly(data: Any, mode: Any) -> None:  # noqa: ANN401  # either
    assert _try(data, mode) is None


@settings(max_examples=120)
@given(st.data(), _MODES)
def test_bytes_changed_anywhere_are_an_event_or_a_refusal(data: st.DataObject, mode: Any) -> None:  # noqa: ANN401  # a literal
    raw = bytearray(json.dumps(fullest("purchase")).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    _try(bytes(raw), mode)


@settings(max_examples=200)
@given(near_events(), st.data(), _MODES)
def test_no_message_repeats_a_planted_secret(
    event: dict[str, Any],
    data: st.DataObject,
    mode: Any,  # noqa: ANN401  # a literal
) -> None:
    name = data.draw(st.sampled_from([*sorted(event), _PLANTED]))
    event[name] = data.draw(
        st.sampled_from(
            [_PLANTED, [_PLANTED], {_PLANTED: _PLANTED}, _PLANTED * 30, f"{_PLANTED}\n"]
        )
    )
    _try(event, mode)
    text = json.dumps(event)
    _try(text, mode)
    _try(text[: data.draw(st.integers(0, len(text)))], mode)
    _try(text.encode() + b"\xff", mode)


def test_deep_nesting_is_refused_in_every_form() -> None:
    deep: Any = _PLANTED
    for _ in range(50_000):
        deep = [deep]
    for mode in ("strict", "lax"):
        assert _try({**SEED, "product_id": deep}, mode) is None
        assert _try({**SEED, _PLANTED: deep}, mode) is None
    while isinstance(deep, list):  # taken apart by hand: freeing it would recurse
        deep = deep.pop()
