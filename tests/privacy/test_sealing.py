"""What a sealed message is bound to, and what a receiver refuses."""

import math
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.envelope import Envelope, Expected, Refusal, SealContext
from homebody_privacy.errors import IntegrityError, SealRefusedError
from homebody_privacy.identity import RecipientKey, public_key
from homebody_privacy.legs import Step
from homebody_privacy.sealing import (
    LONGEST_LIFE_S,
    OVERHEAD_BYTES,
    info,
    open_sealed,
    open_signed,
    read_context,
    seal,
    sign_plain,
    signed_text,
)
from homebody_privacy.signing import SigningKey, key_id

from .sealed_world import (
    AGGREGATOR,
    BODY,
    CONFIG_SHA256,
    NODE,
    NOW,
    OTHER,
    SERVER_KEY,
    context,
    counted,
    opened,
    reason_of,
    sealed,
)

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
NO_RECIPIENT: dict[str, Any] = {"recipient_key_id": "", "step": Step.ENROL, "direction": "down"}

ELSEWHERE: list[tuple[dict[str, Any], Refusal]] = [
    ({"run": "winter"}, Refusal.WRONG_RUN),
    ({"round": 8}, Refusal.WRONG_ROUND),
    ({"session": 11}, Refusal.WRONG_SESSION),
    ({"step": Step.FIGURES}, Refusal.WRONG_STEP),
    ({"direction": "down"}, Refusal.WRONG_DIRECTION),
    ({"node_id": OTHER.node_id}, Refusal.WRONG_NODE),
    ({"msg_id": bytes(16)}, Refusal.WRONG_MESSAGE),
    ({"model_sha256": "d3" * 32}, Refusal.WRONG_MODEL),
    ({"model_sha256": ""}, Refusal.WRONG_MODEL),
    ({"config_sha256": "c1" * 32}, Refusal.WRONG_CONFIG),
    ({"consent_tag": "7b" * 16}, Refusal.WRONG_CONSENT),
    ({"consent_receipt_sha256": ""}, Refusal.WRONG_RECEIPT),
    ({"not_after": NOW + 601}, Refusal.WRONG_DEADLINE),
]


def refused(envelope: bytes, **fields: Any) -> str:  # noqa: ANN401 - one of the fields' types
    with pytest.raises(SealRefusedError) as error:
        opened(envelope, **fields)
    return reason_of(error.value)


def rebuilt(envelope: bytes, **fields: Any) -> Envelope:  # noqa: ANN401
    """Return the parts with another context in the header; signature and body stay."""
    parts = Envelope.from_bytes(envelope)
    other = replace(parts.context, **fields)
    return replace(parts, context=other, header=other.to_bytes())


@given(st.binary(max_size=3000))
def test_who_is_meant_reads_what_was_sealed(body: bytes) -> None:
    assert opened(sealed(body)) == body


@given(st.binary(max_size=300))
def test_the_length_of_what_is_sealed_depends_on_the_length_of_the_body_alone(body: bytes) -> None:
    envelope = sealed(body)
    assert len(Envelope.from_bytes(envelope).body) == len(body) + OVERHEAD_BYTES
    assert len(envelope) == len(sealed(bytes(len(body))))
    there = {"node_id": OTHER.node_id, "msg_id": bytes(16), "consent_tag": "00" * 16}
    assert len(envelope) == len(sealed(bytes(len(body)), **there))


def test_the_same_body_sealed_twice_shows_nothing_in_common() -> None:
    first, second = Envelope.from_bytes(sealed()), Envelope.from_bytes(sealed())
    assert first.header == second.header
    assert first.body[:1120] != second.body[:1120]
    assert first.body[1120:] != second.body[1120:]
    assert BODY not in first.to_bytes()


@pytest.mark.parametrize(("fields", "reason"), ELSEWHERE, ids=lambda value: str(value)[:40])
def test_a_message_from_elsewhere_is_refused_by_name(
    fields: dict[str, Any], reason: Refusal
) -> None:
    assert refused(sealed(**fields)) == reason


@pytest.mark.parametrize(("fields", "_reason"), ELSEWHERE, ids=lambda value: str(value)[:40])
def test_a_header_that_was_exchanged_breaks_the_signature(
    fields: dict[str, Any], _reason: Refusal
) -> None:
    assert refused(rebuilt(sealed(), **fields).to_bytes(), **fields) == Refusal.BAD_SIGNATURE


@pytest.mark.parametrize(("fields", "_reason"), ELSEWHERE, ids=lambda value: str(value)[:40])
def test_a_ciphertext_under_another_header_does_not_open_even_for_its_own_signer(
    fields: dict[str, Any], _reason: Refusal
) -> None:
    moved = rebuilt(sealed(), **fields)
    again = replace(moved, signature=NODE.signing.sign(signed_text(moved.header, moved.body)))
    assert refused(again.to_bytes(), **fields) == Refusal.CANNOT_BE_OPENED


def test_pf_39_an_envelope_forged_from_the_public_key_alone_is_refused() -> None:
    header = context().to_bytes()  # everything but the node's signing key is public
    body = SUITE.encrypt(BODY, public_key(SERVER_KEY.public), info(header))
    honest = Envelope.from_bytes(sealed())
    forger = SigningKey.generate()
    for signature in (
        bytes(64),
        honest.signature,  # of another envelope of the node
        forger.sign(signed_text(header, body)),
    ):
        forged = Envelope(header=header, context=context(), body=body, signature=signature)
        assert refused(forged.to_bytes()) == Refusal.BAD_SIGNATURE
    proper = NODE.signing.sign(signed_text(header, body))
    assert opened(
        Envelope(header=header, context=context(), body=body, signature=proper).to_bytes()
    )


def test_pf_39_a_message_of_the_server_is_not_one_of_the_node() -> None:
    envelope = seal(context(), BODY, recipient=SERVER_KEY.public, signer=AGGREGATOR)
    assert refused(envelope) == Refusal.BAD_SIGNATURE


def test_a_message_to_another_key_is_refused() -> None:
    key = RecipientKey.generate()
    envelope = seal(
        context(recipient_key_id=key.key_id), BODY, recipient=key.public, signer=NODE.signing
    )
    assert refused(envelope, recipient_key_id=key.key_id) == Refusal.WRONG_RECIPIENT
    assert refused(envelope) == Refusal.WRONG_RECIPIENT


def test_every_byte_of_an_envelope_counts() -> None:
    envelope = bytearray(sealed())
    for at in range(len(envelope)):
        envelope[at] ^= 1 << at % 8
        refused(bytes(envelope))
        envelope[at] ^= 1 << at % 8
    assert opened(bytes(envelope)) == BODY


@given(st.data())
def test_a_truncated_or_longer_envelope_is_refused(data: st.DataObject) -> None:
    envelope = sealed()
    at = data.draw(st.integers(0, len(envelope) - 1))
    assert refused(envelope[:at]) == Refusal.MALFORMED
    more = data.draw(st.binary(min_size=1, max_size=70))
    assert refused(envelope + more) == Refusal.MALFORMED


@given(st.binary(max_size=200))
def test_bytes_that_are_no_envelope_are_refused(content: bytes) -> None:
    assert refused(content) == Refusal.MALFORMED
    with pytest.raises(IntegrityError, match="malformed"):
        read_context(content)


def test_a_body_cut_short_and_signed_again_does_not_open() -> None:
    parts = Envelope.from_bytes(sealed())
    for body in (parts.body[:-1], parts.body + b"\0", parts.body[:1120], parts.body[:5], b""):
        signature = NODE.signing.sign(signed_text(parts.header, body))
        again = replace(parts, body=body, signature=signature).to_bytes()
        assert refused(again) == Refusal.CANNOT_BE_OPENED


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW + 600, None),
        (NOW + 600.5, Refusal.EXPIRED),
        (NOW + 10**9, Refusal.EXPIRED),
        (math.inf, Refusal.EXPIRED),
        (math.nan, Refusal.EXPIRED),
        (NOW + 600 - LONGEST_LIFE_S, None),
        (NOW + 599 - LONGEST_LIFE_S, Refusal.TOO_FAR_AHEAD),
        (0, Refusal.TOO_FAR_AHEAD),
        (-math.inf, Refusal.TOO_FAR_AHEAD),
    ],
)
def test_a_message_lives_for_a_while(now: float, reason: Refusal | None) -> None:
    def look() -> bytes:
        return open_sealed(
            sealed(), expected=context(), key=SERVER_KEY, sender=NODE.signing.public, now=now
        )

    if reason is None:
        assert look() == BODY
        return
    with pytest.raises(SealRefusedError) as error:
        look()
    assert error.value.reason == reason


def test_a_field_left_open_is_not_compared_and_every_other_is() -> None:
    known = Expected(
        run=None,
        round=None,
        session=None,
        step=None,
        direction="up",
        node_id=None,
        model_sha256=None,
        config_sha256=CONFIG_SHA256,
    )

    def look(envelope: bytes) -> bytes:
        return open_sealed(
            envelope, expected=known, key=SERVER_KEY, sender=NODE.signing.public, now=NOW
        )

    for fields, reason in ELSEWHERE:
        if reason in {Refusal.WRONG_DIRECTION, Refusal.WRONG_CONFIG}:
            with pytest.raises(SealRefusedError, match=reason):
                look(sealed(**fields))
        else:
            assert look(sealed(**fields)) == BODY


def test_a_signed_announcement_is_read_by_all_and_made_by_one() -> None:
    plain = context(**NO_RECIPIENT)
    envelope = sign_plain(plain, BODY, AGGREGATOR)
    assert BODY in envelope
    public = AGGREGATOR.public
    assert open_signed(envelope, expected=plain, sender=public, now=NOW) == BODY
    for sender, expected, now, reason in (
        (NODE.signing.public, plain, NOW, Refusal.BAD_SIGNATURE),
        (public, replace(plain, session=13), NOW, Refusal.WRONG_SESSION),
        (public, plain, NOW + 601, Refusal.EXPIRED),
        (public, plain, NOW - LONGEST_LIFE_S, Refusal.TOO_FAR_AHEAD),
    ):
        with pytest.raises(SealRefusedError) as error:
            open_signed(envelope, expected=expected, sender=sender, now=now)
        assert error.value.reason == reason


def test_a_signed_message_never_passes_for_a_sealed_one_nor_the_other_way() -> None:
    plain = context(**NO_RECIPIENT)
    envelope = sign_plain(plain, BODY, NODE.signing)
    with pytest.raises(SealRefusedError, match="wrong-kind"):
        open_sealed(envelope, expected=plain, key=SERVER_KEY, sender=NODE.signing.public, now=NOW)
    with pytest.raises(SealRefusedError, match="wrong-kind"):
        open_signed(sealed(), expected=context(), sender=NODE.signing.public, now=NOW)
    flagged = bytearray(sealed())
    flagged[1] = 0
    with pytest.raises(SealRefusedError, match="malformed"):
        open_signed(bytes(flagged), expected=context(), sender=NODE.signing.public, now=NOW)


def test_a_sender_cannot_seal_to_another_key_than_it_names_or_sign_what_must_be_sealed() -> None:
    with pytest.raises(ValueError, match="not the key"):
        seal(context(), BODY, recipient=OTHER.recipient.public, signer=NODE.signing)
    with pytest.raises(ValueError, match="must be sealed"):
        sign_plain(context(), BODY, AGGREGATOR)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        SERVER_KEY.public[:-1],
        b"\xff" * 1184 + SERVER_KEY.public[1184:],
        SERVER_KEY.public[:1184] + bytes(32),
    ],
    ids=["empty", "short", "no ML-KEM key", "X25519 point of low order"],
)
def test_nothing_is_sealed_to_what_is_no_key(raw: bytes) -> None:
    with pytest.raises(SealRefusedError, match="bad-key"):
        seal(context(recipient_key_id=key_id(raw)), BODY, recipient=raw, signer=NODE.signing)


def test_a_refusal_ends_as_damage_does() -> None:
    assert issubclass(SealRefusedError, IntegrityError)
    with pytest.raises(SealRefusedError) as error:
        opened(b"")
    assert (error.value.exit_code, error.value.code) == (14, "seal-refused")


def test_the_header_of_an_envelope_can_be_read_without_any_key() -> None:
    assert read_context(sealed()) == context()
    assert isinstance(read_context(sealed()), SealContext)
    assert counted(0x10, 16) == read_context(sealed()).msg_id
