"""Ed25519 signatures and the DSSE encoding of what they cover.

Ed25519: RFC 8032. DSSE pre-authentication encoding:
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import InvalidFileError

_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private Ed25519 key.

    Attributes:
        secret: The 32 raw bytes of RFC 8032. Secret; not shown by ``repr``.

    Examples:
        >>> key = SigningKey(bytes(32))
        >>> verify_ed25519(key.public, key.sign(b"model"), b"model")
        True
        >>> verify_ed25519(key.public, key.sign(b"model"), b"another")
        False
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no Ed25519 key."""
        if len(self.secret) != _KEY_BYTES:
            raise ValueError(f"secret must have {_KEY_BYTES} bytes, got {len(self.secret)}")

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key that ``save`` wrote.

        Args:
            path: File of 32 bytes that nobody but its owner may read.

        Raises:
            InvalidFileError: If the file is missing, has another size, or group or others have
                any right to it.
        """
        try:
            mode, secret = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise InvalidFileError(f"{path}: cannot be read: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o077:
            raise InvalidFileError(
                f"{path}: others than the owner have rights to this private key",
                fix=f"chmod 600 {path}, and replace the key if others may have read it",
            )
        if len(secret) != _KEY_BYTES:
            raise InvalidFileError(
                f"{path}: an Ed25519 key has {_KEY_BYTES} raw bytes, this file has {len(secret)}"
            )
        return cls(secret)

    def save(self, path: Path) -> None:
        """Write the key to a new file of mode 0600.

        Args:
            path: File that does not exist yet: a key is never written over another.

        Raises:
            FileExistsError: If there is a file already.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.secret)

    @property
    def public(self) -> bytes:
        """The 32 raw bytes others verify with. Public."""
        return self._private().public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, as hex. Public."""
        return key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of a message."""
        return self._private().sign(message)

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret)


def key_id(public: bytes) -> str:
    """Return the name of a public key: the SHA-256 of its raw bytes, as hex."""
    return hashlib.sha256(public).hexdigest()


def pae(payload_type: str, payload: bytes) -> bytes:
    """Encode a payload and its type for signing, so that neither can stand for the other.

    Args:
        payload_type: Media type, such as ``application/vnd.in-toto+json``.
        payload: The bytes that are signed.

    Returns:
        DSSE v1 pre-authentication encoding.

    Examples:
        >>> pae("http://example.com/HelloWorld", b"hello world")
        b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def verify_ed25519(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature over a message was made with the key of ``public``.

    Args:
        public: Raw public key; anything but 32 bytes is no key, hence False.
        signature: Signature; anything but 64 bytes is none, hence False.
        message: The bytes that were signed.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
