"""Seal a message to one recipient and sign it; open it only if it is the one that was expected.

Encryption is HPKE (RFC 9180), single-shot, base mode, with the hybrid of ML-KEM-768 (FIPS 203) and
X25519, HKDF-SHA256 and AES-256-GCM. The header of the envelope goes into HPKE's ``info`` (RFC 9180,
section 8.1), so that a ciphertext opens under its own header only. Base mode authenticates nobody:
whoever has the public key can encrypt. The Ed25519 signature (RFC 8032) is what tells the sender.

    info       "homebody/update/v1"     0x00  SHA-256(header)
    signed     "homebody/update-sig/v1" 0x00  SHA-256(u32(len(header)) header body)

The same envelope opens twice: that it counts once is the work of ``replay``.

=========================================  =====================================================
what the receiver checks, in this order    reason of the refusal
=========================================  =====================================================
layout, to the last byte                   ``malformed``
sealed or signed only, as it should be     ``wrong-kind``
each field it knows                        ``wrong-run``, ``wrong-round``, ... (``Refusal``)
sealed to its own key                      ``wrong-recipient``
signature of the sender                    ``bad-signature``
end of life                                ``expired``, ``too-far-ahead``
decryption                                 ``cannot-be-opened``
=========================================  =====================================================
"""

from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from .envelope import Envelope, Expected, Parts, Refusal, SealContext, compare
from .errors import SealRefusedError
from .identity import RecipientKey, public_key
from .signing import SigningKey, key_id, verify_ed25519

INFO_LABEL: Final = b"homebody/update/v1\0"
SIGNATURE_LABEL: Final = b"homebody/update-sig/v1\0"
OVERHEAD_BYTES: Final = 1120 + 16
"""What sealing adds to a body: encapsulated key and AES-GCM tag."""

LONGEST_LIFE_S: Final = 31 * 86_400
"""A message that would live longer comes from a clock that is wrong, and is refused."""

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal(context: SealContext, body: bytes, *, recipient: bytes, signer: SigningKey) -> bytes:
    """Encrypt a body to one recipient and sign the whole.

    Args:
        context: Which message this is; ``recipient_key_id`` must name ``recipient``.
        body: What to send. Secret.
        recipient: Public key of ``RecipientKey``, 1,216 bytes.
        signer: Key of the sender.

    Returns:
        The envelope. Its encrypted part is ``OVERHEAD_BYTES`` longer than ``body``, whatever the
        body says.

    Raises:
        ValueError: If ``recipient`` is not the key that ``context`` names.
        SealRefusedError: If nothing can be sealed to ``recipient``; reason ``bad-key``.

    Examples:
        >>> from homebody_privacy.legs import Step
        >>> key, signer = RecipientKey.generate(), SigningKey.generate()
        >>> context = SealContext(
        ...     run="autumn", round=1, session=1, step=Step.UPDATE, direction="up",
        ...     node_id=bytes(32), msg_id=bytes(16), recipient_key_id=key.key_id, model_sha256="",
        ...     config_sha256="c" * 64, consent_tag="", consent_receipt_sha256="", not_after=60,
        ... )
        >>> envelope = seal(context, b"body", recipient=key.public, signer=signer)
        >>> open_sealed(envelope, expected=context, key=key, sender=signer.public, now=59.5)
        b'body'
        >>> open_sealed(envelope, expected=context, key=key, sender=signer.public, now=60.5)
        Traceback (most recent call last):
        ...
        homebody_privacy.errors.SealRefusedError: a message was refused: expired
    """
    if key_id(recipient) != context.recipient_key_id:
        raise ValueError("recipient is not the key that the context names")
    header = context.to_bytes()
    try:
        sealed = _SUITE.encrypt(body, public_key(recipient), info(header))
    except ValueError:
        raise SealRefusedError(Refusal.BAD_KEY) from None
    return _signed(context, header, sealed, signer)


def open_sealed(
    envelope: bytes,
    *,
    expected: SealContext | Expected,
    key: RecipientKey,
    sender: bytes,
    now: float,
) -> bytes:
    """Return the body of an envelope, if it is the expected one.

    Args:
        envelope: What came.
        expected: What the receiver knows of the message from its own state.
        key: The recipient's own key.
        sender: Ed25519 public key, 32 bytes, of who should have sent it.
        now: Unix seconds, by the receiver's own clock.

    Raises:
        SealRefusedError: If anything is not as it should be; nothing of the body is then told.
    """
    parts = _checked(envelope, expected, sealed=True)
    if parts.context.recipient_key_id != key.key_id:
        raise SealRefusedError(Refusal.WRONG_RECIPIENT)
    _check_sender(parts, sender, now)
    try:
        return key.decrypt(_SUITE, parts.body, info(parts.header))
    except (InvalidTag, ValueError):
        raise SealRefusedError(Refusal.CANNOT_BE_OPENED) from None


def sign_plain(context: SealContext, body: bytes, signer: SigningKey) -> bytes:
    """Return an envelope that anybody can read and only ``signer`` can make.

    Raises:
        ValueError: If ``context`` names a recipient: it is then meant to be sealed.
    """
    if context.sealed:
        raise ValueError("a message with a recipient must be sealed")
    return _signed(context, context.to_bytes(), body, signer)


def open_signed(
    envelope: bytes, *, expected: SealContext | Expected, sender: bytes, now: float
) -> bytes:
    """Return the body of a signed envelope; as ``open_sealed``, without a key."""
    parts = _checked(envelope, expected, sealed=False)
    _check_sender(parts, sender, now)
    return bytes(parts.body)


def read_context(envelope: bytes) -> SealContext:
    """Return the header of an envelope.

    Before the envelope was opened it is unauthenticated: good for finding the right keys only.

    Raises:
        SealRefusedError: If it is no envelope.
    """
    return Parts.of(envelope).context


def info(header: bytes) -> bytes:
    """Return what HPKE binds a ciphertext to."""
    return INFO_LABEL + sha256(header).digest()


def signed_text(header: bytes, body: bytes | memoryview) -> bytes:
    """Return what the sender signs."""
    digest = sha256(len(header).to_bytes(4, "big") + header)
    digest.update(body)
    return SIGNATURE_LABEL + digest.digest()


def _signed(context: SealContext, header: bytes, body: bytes, signer: SigningKey) -> bytes:
    signature = signer.sign(signed_text(header, body))
    return Envelope(header=header, context=context, body=body, signature=signature).to_bytes()


def _checked(envelope: bytes, expected: SealContext | Expected, *, sealed: bool) -> Parts:
    parts = Parts.of(envelope)
    if parts.context.sealed != sealed:
        raise SealRefusedError(Refusal.WRONG_KIND)
    compare(parts.context, expected)
    return parts


def _check_sender(parts: Parts, sender: bytes, now: float) -> None:
    if not verify_ed25519(sender, parts.signature, signed_text(parts.header, parts.body)):
        raise SealRefusedError(Refusal.BAD_SIGNATURE)
    left = parts.context.not_after - now
    if not left >= 0:  # true for NaN too
        raise SealRefusedError(Refusal.EXPIRED)
    if left > LONGEST_LIFE_S:
        raise SealRefusedError(Refusal.TOO_FAR_AHEAD)
