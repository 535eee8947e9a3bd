"""DSSE envelopes: a payload, its type, and who signed both.

DSSE v1.0: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md. The signature covers
the payload and its type (``signing.pae``), so that one kind of statement never stands for another.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from homebody_privacy.signing import SigningKey, pae, verify_ed25519

MOST_BYTES: Final = 65536
"""Largest payload that is read: a statement has some hundred bytes."""

_MOST_SIGNATURES: Final = 16
_FIELDS: Final = frozenset({"payloadType", "payload", "signatures"})


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of an envelope.

    Attributes:
        keyid: SHA-256 of the public key, hex: a hint, which nothing rests on. Public.
        sig: The 64 bytes of RFC 8032. Public.
    """

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed payload, not yet verified.

    Attributes:
        payload_type: Media type of the payload.
        payload: The bytes that are signed. Untrusted until ``signed_with`` says whose they are.
        signatures: At least one.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        """Refuse what is no envelope, or one nobody would write."""
        if not self.payload_type.isascii() or not self.payload_type:
            raise ValueError("payloadType must be a media type")
        if len(self.payload) > MOST_BYTES:
            raise ValueError(f"the payload has more than {MOST_BYTES} bytes")
        if not 0 < len(self.signatures) <= _MOST_SIGNATURES:
            raise ValueError(f"an envelope has 1 to {_MOST_SIGNATURES} signatures")

    @classmethod
    def sign(cls, payload_type: str, payload: bytes, key: SigningKey) -> Self:
        """Make an envelope with one signature."""
        signature = Signature(key.key_id, key.sign(pae(payload_type, payload)))
        return cls(payload_type, payload, (signature,))

    def signed_with(self, public: bytes) -> bool:
        """Tell whether one of the signatures was made with the key of ``public``.

        Args:
            public: Raw Ed25519 public key, 32 bytes.
        """
        message = pae(self.payload_type, self.payload)
        return any(verify_ed25519(public, one.sig, message) for one in self.signatures)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of DSSE, base64 as in RFC 4648 section 4."""
        return {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [
                {"keyid": one.keyid, "sig": base64.b64encode(one.sig).decode()}
                for one in self.signatures
            ],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what ``to_json`` returned.

        Raises:
            ValueError: If it is anything else; one spelling of base64 alone is accepted, so that
                no byte can be changed without a trace.
        """
        if not isinstance(value, Mapping) or value.keys() != _FIELDS:
            raise ValueError("an envelope has payloadType, payload and signatures")
        kind, signatures = value["payloadType"], value["signatures"]
        if not isinstance(kind, str) or not isinstance(signatures, list):
            raise ValueError("payloadType must be text, signatures a list")  # noqa: TRY004
        return cls(kind, _decoded(value["payload"]), tuple(_signature(one) for one in signatures))


def _signature(value: object) -> Signature:
    if not isinstance(value, Mapping) or value.keys() != {"keyid", "sig"}:
        raise ValueError("a signature has keyid and sig")
    if not isinstance(value["keyid"], str):
        raise ValueError("keyid must be text")  # noqa: TRY004
    return Signature(value["keyid"], _decoded(value["sig"]))


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 must be text")  # noqa: TRY004
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("this is no base64") from error
    if base64.b64encode(content).decode() != text:
        raise ValueError("this base64 has another spelling")
    return content
