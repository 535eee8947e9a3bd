"""Detached signatures of a signed file, in the fields of DSSE.

Dead Simple Signing Envelope, https://github.com/secure-systems-lab/dsse. The signature covers type
and bytes as served, so nothing is parsed or written again before it is checked. The key id is the
SHA-256 of the raw public key: distinct ids are distinct keys.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from homebody_models.strict_json import strict_loads

PAYLOAD_TYPE: Final = "application/vnd.homebody.bundle+json"
"""Type of a bundle's manifest; a file of another type cannot stand for it, nor it for that file."""

_MOST_SIGNATURES: Final = 16

Sign = Callable[[bytes], tuple[str, bytes]]
"""Signs a message; returns the key id and the signature."""

Verify = Callable[[bytes, bytes, bytes], bool]
"""Tells whether (public key, signature, message) belong together; never raises."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the id of the key it claims to be from. Public."""

    key_id: str
    value: bytes = field(repr=False)


def key_id(public: bytes) -> str:
    """Return the id of a raw public key: its SHA-256 in hex."""
    return hashlib.sha256(public).hexdigest()


def pre_authentication(payload: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
    """Return the bytes that are signed: type and payload, each with its length.

    Examples:
        >>> pre_authentication(b"{}")
        b'DSSEv1 36 application/vnd.homebody.bundle+json 2 {}'
    """
    name = kind.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(name), name, b"%d" % len(payload), payload))


def write_signatures(*signatures: Signature, kind: str = PAYLOAD_TYPE) -> bytes:
    """Return the signature file."""
    entries = [
        {"keyid": entry.key_id, "sig": base64.b64encode(entry.value).decode()}
        for entry in signatures
    ]
    return json.dumps({"payloadType": kind, "signatures": entries}).encode()


def read_signatures(data: bytes, kind: str = PAYLOAD_TYPE) -> tuple[Signature, ...]:
    """Parse a signature file, which nothing vouches for yet.

    Raises:
        ValueError: If the type is another or the form is not the one written here.
    """
    match strict_loads(data):
        case {"payloadType": str(found), "signatures": list(entries), **rest} if not rest:
            pass
        case _:
            raise ValueError("a signature file holds payloadType and signatures, nothing else")
    if found != kind:
        raise ValueError(f"payloadType must be {kind}")
    if not 1 <= len(entries) <= _MOST_SIGNATURES:
        raise ValueError(f"there must be 1 to {_MOST_SIGNATURES} signatures")
    return tuple(_signature(entry) for entry in entries)


def good_keys(
    payload: bytes,
    signatures: tuple[Signature, ...],
    trusted: Mapping[str, bytes],
    verify: Verify,
    kind: str = PAYLOAD_TYPE,
) -> int:
    """Count the distinct trusted keys that signed ``payload``; a key counts once."""
    message = pre_authentication(payload, kind)
    return len(
        {
            trusted[entry.key_id]
            for entry in signatures
            if entry.key_id in trusted and verify(trusted[entry.key_id], entry.value, message)
        }
    )


def _signature(entry: object) -> Signature:
    """Parse one entry of a signature file."""
    match entry:
        case {"keyid": str(key), "sig": str(value), **rest} if not rest:
            return Signature(key, base64.b64decode(value, validate=True))
        case _:
            raise ValueError("a signature holds keyid and sig, nothing else")
