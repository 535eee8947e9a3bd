"""Certificates and requests of nodes: who vouches, for which keys, until when."""

import math
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.certificate import Certificate, Request
from homebody_privacy.envelope import Refusal
from homebody_privacy.errors import SealRefusedError
from homebody_privacy.signing import SigningKey

from .sealed_world import AUTHORITY, NODE, NOW, OTHER

CERTIFICATE = Certificate.issue(
    AUTHORITY,
    fleet="home",
    signing=NODE.signing.public,
    recipient=NODE.recipient.public,
    not_after=NOW + 60,
)
REQUEST = Request.make(NODE, fleet="home")
LOW_ORDER = NODE.recipient.public[:1184] + bytes(32)


def refused(certificate: Certificate, *, fleet: str = "home", now: float = NOW) -> str:
    with pytest.raises(SealRefusedError) as error:
        certificate.check(AUTHORITY.public, fleet, now)
    return error.value.reason


def test_a_certificate_of_the_authority_for_this_fleet_is_accepted_until_its_end() -> None:
    CERTIFICATE.check(AUTHORITY.public, "home", NOW)
    CERTIFICATE.check(AUTHORITY.public, "home", NOW + 60)
    assert CERTIFICATE.node_id == NODE.node_id
    assert refused(CERTIFICATE, now=NOW + 60.5) == Refusal.EXPIRED
    assert refused(CERTIFICATE, now=math.nan) == Refusal.EXPIRED
    assert refused(CERTIFICATE, fleet="office") == Refusal.WRONG_FLEET


def test_a_certificate_of_anybody_else_is_refused() -> None:
    for signer in (SigningKey.generate(), NODE.signing):
        own = Certificate.issue(
            signer,
            fleet="home",
            signing=NODE.signing.public,
            recipient=NODE.recipient.public,
            not_after=NOW + 60,
        )
        assert refused(own) == Refusal.BAD_SIGNATURE


def test_certificate_and_request_survive_their_bytes() -> None:
    assert Certificate.from_bytes(CERTIFICATE.to_bytes()) == CERTIFICATE
    assert Request.from_bytes(REQUEST.to_bytes()) == REQUEST
    assert len(CERTIFICATE.to_bytes()) == 1 + 1 + 4 + 32 + 1216 + 8 + 64
    assert len(REQUEST.to_bytes()) == 1 + 1 + 4 + 32 + 1216 + 64


def test_every_bit_of_a_certificate_and_of_a_request_counts() -> None:
    def accepted(content: bytes, *, request: bool) -> bool:
        try:
            if request:
                Request.from_bytes(content).check("home")
            else:
                Certificate.from_bytes(content).check(AUTHORITY.public, "home", NOW)
        except (SealRefusedError, ValueError):
            return False
        return True

    for whole, request in ((CERTIFICATE.to_bytes(), False), (REQUEST.to_bytes(), True)):
        content = bytearray(whole)
        assert accepted(bytes(content), request=request)
        for at in range(len(content)):
            content[at] ^= 1 << at % 8
            assert not accepted(bytes(content), request=request)
            content[at] ^= 1 << at % 8


@given(st.data())
def test_a_cut_or_longer_certificate_or_request_is_refused(data: st.DataObject) -> None:
    for kind, whole in ((Certificate, CERTIFICATE.to_bytes()), (Request, REQUEST.to_bytes())):
        cut = data.draw(st.integers(0, len(whole) - 1))
        more = data.draw(st.binary(min_size=1, max_size=40))
        for content in (whole[:cut], whole + more, more):
            with pytest.raises(ValueError, match=r"version|length|utf-8|fleet"):
                kind.from_bytes(content)


def test_a_request_proves_that_its_node_holds_the_key() -> None:
    REQUEST.check("home")
    assert REQUEST.node_id == NODE.node_id
    borrowed = Request(
        fleet="home",
        signing=NODE.signing.public,
        recipient=OTHER.recipient.public,
        signature=REQUEST.signature,
    )
    with pytest.raises(SealRefusedError, match="bad-signature"):
        borrowed.check("home")
    with pytest.raises(SealRefusedError, match="wrong-fleet"):
        REQUEST.check("office")


def test_a_request_or_certificate_for_a_key_nothing_can_be_sealed_to_is_refused() -> None:
    start = REQUEST.to_bytes()[:38]
    text = b"homebody/request/v1\0" + sha256(start + LOW_ORDER).digest()
    hollow = Request.from_bytes(start + LOW_ORDER + NODE.signing.sign(text))
    with pytest.raises(SealRefusedError, match="bad-key"):
        hollow.check("home")
    with pytest.raises(ValueError, match="shared key"):
        Certificate.issue(
            AUTHORITY,
            fleet="home",
            signing=NODE.signing.public,
            recipient=LOW_ORDER,
            not_after=NOW,
        )


def test_a_signature_over_a_request_is_none_over_a_certificate() -> None:
    own = Certificate(
        fleet="home",
        signing=NODE.signing.public,
        recipient=NODE.recipient.public,
        not_after=NOW,
        signature=REQUEST.signature,
    )
    with pytest.raises(SealRefusedError, match="bad-signature"):
        own.check(NODE.signing.public, "home", NOW)


@pytest.mark.parametrize("fleet", ["", "f" * 256, "ü" * 128])
def test_a_fleet_has_a_name_of_1_to_255_bytes(fleet: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        Request.make(NODE, fleet=fleet)


@pytest.mark.parametrize("not_after", [-1, 2**53, 1.5, True])
def test_the_end_of_a_certificate_is_a_whole_number_of_seconds(not_after: int) -> None:
    with pytest.raises(ValueError, match="not_after"):
        Certificate.issue(
            AUTHORITY,
            fleet="home",
            signing=NODE.signing.public,
            recipient=NODE.recipient.public,
            not_after=not_after,
        )


@pytest.mark.parametrize(("signing", "signature"), [(bytes(31), bytes(64)), (bytes(32), bytes(63))])
def test_a_key_or_signature_of_another_length_makes_no_request(
    signing: bytes, signature: bytes
) -> None:
    with pytest.raises(ValueError, match="another length"):
        Request(fleet="home", signing=signing, recipient=NODE.recipient.public, signature=signature)
