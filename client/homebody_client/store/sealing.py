"""Seal one piece of the store so that it opens in its own place only.

AES-256-GCM with a random nonce of 96 bits. What a piece is and where it stands is bound as
associated data: a row that is moved to another number, feature or table does not open.
"""

import os
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LABEL: Final = b"homebody/store/v1"
_NONCE_BYTES: Final = 12


class Box:
    """Seals and opens pieces under one key of 32 bytes, which stays out of ``repr``.

    Raises:
        ValueError: If the key has another length.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        """Make the cipher once: a store reads a thousand rows under one key."""
        if len(key) != 32:  # noqa: PLR2004 - AES-256
            raise ValueError("a key of the store has 32 bytes")
        self._cipher = AESGCM(key)

    def seal(self, content: bytes, *place: str | int) -> bytes:
        """Encrypt a piece for one place, such as ``"row", feature, seq``."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, _bound(place))

    def open(self, sealed: object, *place: str | int) -> bytes | None:
        """Return what was sealed for this place; None if it does not open."""
        if not isinstance(sealed, bytes) or len(sealed) <= _NONCE_BYTES:
            return None
        nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, body, _bound(place))
        except InvalidTag:
            return None


def _bound(place: tuple[str | int, ...]) -> bytes:
    """Encode a place, each part with its length: no two places are encoded alike."""
    return _begun(place[:-1]) + _part(place[-1])


@lru_cache(maxsize=256)
def _begun(parts: tuple[str | int, ...]) -> bytes:
    """Encode a place but its last part: all rows of a feature group begin alike. Public."""
    return _LABEL + b"".join(map(_part, parts))


def _part(part: str | int) -> bytes:
    text = str(part).encode()
    return len(text).to_bytes(4, "big") + text
