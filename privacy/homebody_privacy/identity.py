"""Keys of a node: one that signs, and one that messages are sealed to.

The recipient's key is the hybrid of ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) of HPKE's
MLKEM768-X25519: it stays secret while either of the two holds. An aggregator makes such a key for
each session; a node keeps one beside its Ed25519 identity.

A private key here cannot be printed, pickled, copied or compared by accident. Python cannot wipe
memory: a key is gone when the process is, not when the object is.
"""

import os
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Never, Self

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from .durable import sync_folder
from .errors import InvalidFileError
from .signing import SigningKey, key_id

SECRET_BYTES: Final = 64 + 32
"""ML-KEM seed (d, z of FIPS 203), then X25519 scalar."""

PUBLIC_BYTES: Final = 1184 + 32
"""ML-KEM-768 encapsulation key, then X25519 public key."""

_SEED: Final = 64
_MLKEM_PUBLIC: Final = 1184
_MAGIC: Final = b"homebody/identity/v1\0"
_SIGNING: Final = 32


class RecipientKey:
    """Private key that messages are sealed to. Secret.

    Examples:
        >>> key = RecipientKey.generate()
        >>> len(key.public), RecipientKey.from_bytes(key.to_bytes()).public == key.public
        (1216, True)
        >>> key == RecipientKey.from_bytes(key.to_bytes())
        Traceback (most recent call last):
        ...
        TypeError: private keys are not compared; compare key_id
    """

    __slots__ = ("_mlkem", "_x25519", "key_id", "public")

    public: bytes
    """What others seal to: ML-KEM-768 key, then X25519 key, 1,216 bytes. Public."""

    key_id: str
    """SHA-256 of the public key, as hex. Public."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        """Keep both halves."""
        self._mlkem = mlkem
        self._x25519 = x25519
        halves = mlkem.public_key().public_bytes_raw(), x25519.public_key().public_bytes_raw()
        self.public = b"".join(halves)
        self.key_id = key_id(self.public)

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the library's randomness."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """Return the key of what ``to_bytes`` gave.

        Raises:
            ValueError: If it has another length.
        """
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"secret must have {SECRET_BYTES} bytes, got {len(secret)}")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:_SEED])
        return cls(mlkem, X25519PrivateKey.from_private_bytes(secret[_SEED:]))

    def to_bytes(self) -> bytes:
        """Return the secret: ML-KEM seed, then X25519 scalar."""
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()

    def decrypt(self, suite: Suite, sealed: bytes | memoryview, info: bytes) -> bytes:
        """Open a single-shot HPKE message.

        Raises:
            InvalidTag: If it was not sealed to this key under this ``info``.
        """
        whole = MLKEM768X25519PrivateKey(self._mlkem, self._x25519)
        return suite.decrypt(sealed, whole, info)

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "RecipientKey()"

    def __reduce__(self) -> Never:
        """Refuse to be pickled or copied."""
        raise TypeError("a private key is not pickled")

    def __eq__(self, other: object) -> bool:
        """Refuse to be compared."""
        raise TypeError("private keys are not compared; compare key_id")

    __hash__ = None  # type: ignore[assignment]


def public_key(raw: bytes) -> MLKEM768X25519PublicKey:
    """Return the HPKE key of its 1,216 raw bytes.

    Raises:
        ValueError: If they are no such key.
    """
    if len(raw) != PUBLIC_BYTES:
        raise ValueError(f"a recipient's key has {PUBLIC_BYTES} bytes, got {len(raw)}")
    mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC])
    return MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC:]))


def check_public(raw: bytes) -> None:
    """Refuse a public key that nothing can be sealed to.

    Raises:
        ValueError: If it is no key, or its X25519 half has no more than one shared secret.
    """
    public_key(raw)
    X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC:]))


def node_id_of(signing_public: bytes) -> bytes:
    """Return the id of the node with this Ed25519 public key: its SHA-256, 32 bytes."""
    return sha256(signing_public).digest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeIdentity:
    """Both keys of a node. Secret; not shown by ``repr``.

    Attributes:
        signing: Key the node signs with.
        recipient: Key others seal to.
    """

    signing: SigningKey = field(repr=False)
    recipient: RecipientKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new identity."""
        return cls(signing=SigningKey.generate(), recipient=RecipientKey.generate())

    @property
    def node_id(self) -> bytes:
        """SHA-256 of the raw Ed25519 public key, 32 bytes. Public."""
        return node_id_of(self.signing.public)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an identity that ``save`` wrote.

        Raises:
            InvalidFileError: If the file is missing, is no identity, or group or others have any
                right to it.
        """
        try:
            mode, content = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise InvalidFileError(f"{path}: cannot be read: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o077:
            raise InvalidFileError(
                f"{path}: others than the owner have rights to these private keys",
                fix=f"chmod 600 {path}, and enrol anew if others may have read it",
            )
        size = len(_MAGIC) + _SIGNING + SECRET_BYTES
        if not content.startswith(_MAGIC) or len(content) != size:
            raise InvalidFileError(f"{path}: it is no identity of a node")
        keys = content[len(_MAGIC) :]
        recipient = RecipientKey.from_bytes(keys[_SIGNING:])
        return cls(signing=SigningKey(keys[:_SIGNING]), recipient=recipient)

    def save(self, path: Path) -> None:
        """Write the identity to a new file of mode 0600, on disk when the call returns.

        Raises:
            FileExistsError: If there is a file already: a key is never written over another.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + self.signing.secret + self.recipient.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)

    def __reduce__(self) -> Never:
        """Refuse to be pickled or copied."""
        raise TypeError("a private key is not pickled")
