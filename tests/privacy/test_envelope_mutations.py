"""Decoders of sealed messages take one spelling: what they accept, they would write the same."""

from collections.abc import Callable
from typing import Any, Final

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homebody_privacy.certificate import Certificate, Request
from homebody_privacy.envelope import Envelope, SealContext
from homebody_privacy.errors import SealRefusedError
from homebody_privacy.legs import Announcement, Decline, Enrolment, Opening, Work

from .sealed_world import AUTHORITY, CONFIG_SHA256, NODE, NOW, SERVER_KEY, context, counted, sealed

Decoder = Callable[[bytes], Any]
RECIPIENT = SERVER_KEY.public.hex()
CERTIFICATE = Certificate.issue(
    AUTHORITY,
    fleet="home",
    signing=NODE.signing.public,
    recipient=NODE.recipient.public,
    not_after=NOW,
)
MESSAGES: Final[dict[str, tuple[Decoder, bytes]]] = {
    "envelope": (Envelope.from_bytes, sealed()),
    "header": (SealContext.from_bytes, context().to_bytes()),
    "certificate": (Certificate.from_bytes, CERTIFICATE.to_bytes()),
    "request": (Request.from_bytes, Request.make(NODE, fleet="home").to_bytes()),
    "announcement": (
        Announcement.from_bytes,
        Announcement(
            run="autumn",
            session=1,
            recipient=RECIPIENT,
            config_sha256=CONFIG_SHA256,
            devices=6040,
            model={"name": "two-tower", "options": {"dim": 8, "rate": 0.25}},
            clip_norm=0.5,
            lattice_bits=16,
            example_key="e1" * 32,
            not_after=NOW,
        ).to_bytes(),
    ),
    "enrolment": (
        Enrolment.from_bytes,
        Enrolment(certificate=CERTIFICATE.to_bytes().hex(), devices=[4, 1]).to_bytes(),
    ),
    "opening": (
        Opening.from_bytes,
        Opening(round=7, recipient=RECIPIENT, length=5, word_bits=64, metric="q").to_bytes(),
    ),
    "work": (
        Work.from_bytes,
        Work(asked={"devices": [4]}, forwarded=b"s" * 9, content_key=counted(0, 32)).to_bytes(),
    ),
    "decline": (Decline.from_bytes, Decline(code="consent-missing").to_bytes()),
}


def accepted(decode: Decoder, content: bytes) -> Any:  # noqa: ANN401 - what the decoder makes
    """Return what a decoder makes of bytes; None if it refuses them as a decoder should."""
    try:
        return decode(content)
    except (SealRefusedError, ValueError):
        return None


@pytest.mark.parametrize("name", MESSAGES)
def test_what_was_written_is_accepted(name: str) -> None:
    decode, content = MESSAGES[name]
    assert accepted(decode, content).to_bytes() == content


@pytest.mark.parametrize("name", MESSAGES)
@given(data=st.data())
def test_whatever_bytes_are_accepted_would_be_written_the_same(
    name: str, data: st.DataObject
) -> None:
    decode, content = MESSAGES[name]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        piece = data.draw(
            st.sampled_from([b"", b"\0", b" ", b"0", b"9", b'"', b",", b"1e2", b"\xff"])
        )
        changed[at : at + data.draw(st.integers(0, 2))] = piece
    found = accepted(decode, bytes(changed))
    assert found is None or found.to_bytes() == bytes(changed)


@settings(max_examples=30)
@pytest.mark.parametrize("name", [n for n in MESSAGES if MESSAGES[n][1][:1] == b"{"])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    )
)
@example(value=None)
def test_any_other_json_is_refused(name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
    decode, _ = MESSAGES[name]
    assert accepted(decode, rfc8785.dumps(value)) is None
