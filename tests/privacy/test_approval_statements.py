"""Envelopes and statements are DSSE and in-toto, have one spelling, and say whose they are."""

import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey

from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.statement import Approval, Waiver, read, sign, unverified
from homebody_privacy.errors import IntegrityError, PolicyViolationError
from homebody_privacy.signing import pae

from .review_world import DPO, KEYS, SECURITY, approval, waiver


def _other_key(name: str) -> SSlibKey:
    public = {"public": KEYS[name].public.hex()}
    return SSlibKey(KEYS[name].key_id, "ed25519", "ed25519", public)


def test_another_library_verifies_what_we_sign() -> None:
    signed = approval(DPO)
    other = OtherEnvelope.from_dict(json.loads(json.dumps(signed.to_json())))
    assert other.pae() == pae(signed.payload_type, signed.payload)
    assert other.verify([_other_key(DPO)], 1).keys() == {KEYS[DPO].key_id}
    with pytest.raises(VerificationError):
        other.verify([_other_key(SECURITY)], 1)


def test_we_verify_what_another_library_serialises() -> None:
    signed = approval(DPO)
    other = OtherEnvelope.from_dict(json.loads(json.dumps(signed.to_json())))
    assert Envelope.from_json(other.to_dict()) == signed


def test_a_statement_is_in_toto_v1_with_config_and_wheel_as_subjects() -> None:
    signed = approval(DPO, wheel=("homebody-0.1.0-py3-none-any.whl", "ef" * 32))
    value = json.loads(signed.payload)
    assert signed.payload_type == "application/vnd.in-toto+json"
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "urn:homebody:approval:1"
    assert [one["name"] for one in value["subject"]] == [
        "privacy.toml",
        "homebody-0.1.0-py3-none-any.whl",
    ]
    assert value["subject"][1]["digest"] == {"sha256": "ef" * 32, "homebodyTree": "ab" * 32}


@pytest.mark.parametrize("statement", ["approval", "waiver"])
def test_what_was_signed_comes_back(statement: str) -> None:
    envelope = approval(DPO) if statement == "approval" else sign(waiver(DPO), KEYS[DPO])
    found = read(envelope, {DPO: KEYS[DPO].public})
    assert isinstance(found, Approval if statement == "approval" else Waiver)
    assert sign(found, KEYS[DPO]) == envelope
    assert unverified(Envelope.from_json(envelope.to_json())) == found


def test_a_statement_of_nobody_who_is_pinned_is_refused() -> None:
    with pytest.raises(PolicyViolationError, match="no key of theirs is pinned"):
        read(approval(DPO), {SECURITY: KEYS[SECURITY].public})
    with pytest.raises(IntegrityError, match="does not match"):
        read(approval(DPO), {DPO: KEYS[SECURITY].public})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"decision":"approve"', b'"decision":"refuse"'),
        (b'"revision":12', b'"revision":true'),
        (b'"revision":12', b'"revision": 12'),
        (b'"by":"dpo', b'"by":"","x":"dpo'),
        (b"https://in-toto.io/Statement/v1", b"https://in-toto.io/Statement/v2"),
    ],
)
def test_a_payload_that_homebody_would_not_write_is_no_statement(old: bytes, new: bytes) -> None:
    signed = approval(DPO)
    assert old in signed.payload
    payload = signed.payload.replace(old, new)
    envelope = Envelope.sign(signed.payload_type, payload, KEYS[DPO])
    with pytest.raises(IntegrityError, match="no approval and no waiver"):
        read(envelope, {DPO: KEYS[DPO].public})


def test_an_envelope_of_another_type_is_no_statement() -> None:
    envelope = Envelope.sign("application/json", approval(DPO).payload, KEYS[DPO])
    with pytest.raises(IntegrityError, match="no approval"):
        read(envelope, {DPO: KEYS[DPO].public})


@pytest.mark.parametrize(
    "changes",
    [
        {"rule": "agg-2"},
        {"path": "a b"},
        {"reason": ""},
        {"reason": "two\nlines"},
        {"config": "AB" * 32},
        {"expires": 5},
    ],
)
def test_a_waiver_names_rule_field_reason_and_end(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"waiver|digest|issued"):
        waiver(DPO, **changes)
