"""The header of an envelope: what it may say, and that there is one way to write it."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.envelope import (
    HEADER_LIMIT,
    SUITE,
    Envelope,
    Expected,
    Refusal,
    SealContext,
    compare,
)
from homebody_privacy.errors import SealRefusedError
from homebody_privacy.legs import Step

from .sealed_world import NODE, context, sealed

NUMBERS = st.integers(0, 2**53 - 1)
HEX_32 = st.binary(min_size=32, max_size=32).map(bytes.hex)
CONTEXTS = st.builds(
    SealContext,
    run=st.text(min_size=1, max_size=60),
    round=NUMBERS,
    session=NUMBERS,
    step=st.sampled_from([step for step in Step if step is not Step.DECLINE]),
    direction=st.sampled_from(["up", "down"]),
    node_id=st.binary(min_size=32, max_size=32),
    msg_id=st.binary(min_size=16, max_size=16),
    recipient_key_id=st.just("") | HEX_32,
    model_sha256=st.just("") | HEX_32,
    config_sha256=HEX_32,
    consent_tag=st.just("") | st.binary(min_size=16, max_size=16).map(bytes.hex),
    consent_receipt_sha256=st.just("") | HEX_32,
    not_after=NUMBERS,
)


@given(CONTEXTS)
def test_a_header_survives_its_bytes_and_they_are_canonical_json(one: SealContext) -> None:
    header = one.to_bytes()
    assert SealContext.from_bytes(header) == one
    values = json.loads(header)
    assert rfc8785.dumps(values) == header
    assert set(values) == {part.name for part in fields(SealContext)} | {"v", "suite"}
    assert (values["suite"] == SUITE) == one.sealed == bool(one.recipient_key_id)
    assert len(header) <= HEADER_LIMIT


@given(CONTEXTS, CONTEXTS)
def test_two_contexts_share_a_header_only_if_they_are_the_same(
    one: SealContext, other: SealContext
) -> None:
    assert (one.to_bytes() == other.to_bytes()) == (one == other)


@given(CONTEXTS, st.binary(max_size=50), st.binary(min_size=64, max_size=64))
def test_an_envelope_survives_its_bytes(one: SealContext, body: bytes, signature: bytes) -> None:
    whole = Envelope(header=one.to_bytes(), context=one, body=body, signature=signature)
    assert Envelope.from_bytes(whole.to_bytes()) == whole
    assert len(whole.to_bytes()) == 74 + len(whole.header) + len(body)


BROKEN: list[dict[str, Any]] = [
    {"run": ""},
    {"run": "r" * 256},
    {"run": 7},
    {"round": -1},
    {"round": 2**53},
    {"round": True},
    {"session": 1.0},
    {"not_after": -1},
    {"step": "update"},
    {"direction": "sideways"},
    {"step": Step.DECLINE, "direction": "down"},
    {"node_id": bytes(31)},
    {"msg_id": bytes(17)},
    {"recipient_key_id": "a" * 63},
    {"model_sha256": "A" * 64},
    {"config_sha256": ""},
    {"consent_tag": "7a" * 15},
    {"consent_tag": "7a" * 15 + "\n7"},
    {"consent_receipt_sha256": "5e" * 16},
]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_context_no_message_has_cannot_be_built(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|does not decline"):
        context(**broken)


def rewritten(**changes: Any) -> bytes:  # noqa: ANN401 - any JSON
    return rfc8785.dumps({**json.loads(context().to_bytes()), **changes})


OTHERWISE: dict[str, bytes] = {
    "empty": b"",
    "no fields": b"{}",
    "a list": b"[]",
    "null": b"null",
    "no text": b"\xff\xfe",
    "deep": b"[" * 5000,
    "a long number": b'{"v":1' + b"1" * 5000 + b"}",
    "a space at the end": context().to_bytes() + b" ",
    "a space inside": context().to_bytes().replace(b'":', b'": ', 1),
    "a field twice": context().to_bytes().replace(b'{"', b'{"run":"autumn","', 1),
    "UTF-16": json.dumps(json.loads(context().to_bytes())).encode("utf-16"),
    "a field more": rewritten(more=1),
    "version 2": rewritten(v=2),
    "a version in words": rewritten(v="1"),
    "unsealed, with a recipient": rewritten(suite="none"),
    "sealed, without a recipient": rewritten(recipient_key_id=""),
    "another suite": rewritten(suite="DHKEM"),
    "an unknown step": rewritten(step="dance"),
    "a round in words": rewritten(round="7"),
    "half a round": rewritten(round=7.5),
    "an id in capitals": rewritten(node_id=NODE.node_id.hex().upper()),
    "a number for an id": rewritten(node_id=7),
    "spaces in an id": rewritten(msg_id="0 " * 16),
}


@pytest.mark.parametrize("how", OTHERWISE)
def test_a_header_that_is_written_otherwise_is_refused(how: str) -> None:
    with pytest.raises(ValueError, match="header"):
        SealContext.from_bytes(OTHERWISE[how])


def test_a_header_without_one_of_its_fields_is_refused() -> None:
    values = json.loads(context().to_bytes())
    for name in values:
        rest = {key: value for key, value in values.items() if key != name}
        with pytest.raises(ValueError, match="no header"):
            SealContext.from_bytes(rfc8785.dumps(rest))


@pytest.mark.parametrize(("at", "value"), [(0, 0), (0, 2), (1, 0), (1, 2), (1, 255), (2, 255)])
def test_another_version_flag_or_length_is_no_envelope(at: int, value: int) -> None:
    content = bytearray(sealed())
    content[at] = value
    with pytest.raises(SealRefusedError, match="malformed"):
        Envelope.from_bytes(bytes(content))


def test_a_header_past_its_limit_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(context().to_bytes())
    monkeypatch.setattr("homebody_privacy.envelope.HEADER_LIMIT", size)
    assert Envelope.from_bytes(sealed()).context == context()
    monkeypatch.setattr("homebody_privacy.envelope.HEADER_LIMIT", size - 1)
    with pytest.raises(SealRefusedError, match="malformed"):
        Envelope.from_bytes(sealed())


def test_every_field_of_a_context_has_a_refusal_of_its_own() -> None:
    changes: dict[str, Any] = {
        "run": "winter",
        "round": 1,
        "session": 1,
        "step": Step.SHARE,
        "direction": "down",
        "node_id": bytes(32),
        "msg_id": bytes(16),
        "recipient_key_id": "",
        "model_sha256": "",
        "config_sha256": "0" * 64,
        "consent_tag": "",
        "consent_receipt_sha256": "",
        "not_after": 0,
    }
    assert set(changes) == {one.name for one in fields(SealContext)}
    reasons = set()
    for name, value in changes.items():
        with pytest.raises(SealRefusedError) as error:
            compare(replace(context(), **{name: value}), context())
        reasons.add(error.value.reason)
    assert len(reasons) == len(changes)


def test_what_is_expected_has_no_field_that_a_context_lacks() -> None:
    named = {one.name for one in fields(SealContext)}
    assert {one.name for one in fields(Expected)} == named - {"recipient_key_id", "not_after"}


def test_ids_and_consent_are_not_in_the_repr_of_a_context() -> None:
    shown = repr(context())
    for secret in (NODE.node_id.hex(), repr(NODE.node_id), "7a" * 16, "5e" * 32):
        assert secret not in shown


def test_reasons_are_short_names_of_which_none_is_used_twice() -> None:
    assert len({str(one) for one in Refusal}) == len(Refusal)
    assert all(str(one) == one.name.lower().replace("_", "-") for one in Refusal)
