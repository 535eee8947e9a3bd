"""Certificates of nodes: the enrolment authority's word that a key belongs to a node of the fleet.

==========================  =====================  ============================================
field                       bytes of a certificate  bytes of a request
==========================  =====================  ============================================
version                     1: value 1             1: value 1
fleet, behind its length    1 + F                  1 + F
Ed25519 public key          32                     32
recipient's public key      1,216                  1,216
end of life, Unix seconds   8, big-endian          --
signature                   64, by the authority   64, by the key in it
==========================  =====================  ============================================

Both signatures are Ed25519 over a label, a zero byte and the SHA-256 of all bytes before them.
Who holds the authority's key decides who is in the fleet: it can enrol nodes that are nobody.
"""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Self

from .envelope import SIGNATURE_BYTES, Refusal
from .errors import SealRefusedError
from .identity import PUBLIC_BYTES, NodeIdentity, check_public, node_id_of
from .signing import SigningKey, verify_ed25519

_VERSION: Final = 1
_SIGNING: Final = 32
_TIME: Final = 8
_LONGEST: Final = 255
_CERTIFICATE: Final = b"homebody/certificate/v1\0"
_REQUEST: Final = b"homebody/request/v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A node's keys, vouched for. Public, but that it names the node.

    Attributes:
        fleet: Name of the fleet, 1 to 255 bytes of UTF-8.
        signing: Ed25519 public key, 32 bytes.
        recipient: Key messages to the node are sealed to, 1,216 bytes.
        not_after: End of its life, Unix seconds.
        signature: The authority's, 64 bytes.
    """

    fleet: str
    signing: bytes = field(repr=False)
    recipient: bytes = field(repr=False)
    not_after: int
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what no authority would sign."""
        _check(self.fleet, self.signing, self.recipient, self.signature)
        if type(self.not_after) is not int or not 0 <= self.not_after < 2**53:
            raise ValueError("not_after must be an integer from 0 to 2**53 - 1")

    @classmethod
    def issue(
        cls,
        authority: SigningKey,
        *,
        fleet: str,
        signing: bytes,
        recipient: bytes,
        not_after: int,
    ) -> Self:
        """Sign a node's keys, after whatever check of the node the authority makes.

        Raises:
            ValueError: If a field is out of range or ``recipient`` is no key.
        """
        check_public(recipient)
        unsigned = cls(
            fleet=fleet,
            signing=signing,
            recipient=recipient,
            not_after=not_after,
            signature=bytes(SIGNATURE_BYTES),
        )
        signature = authority.sign(_text(_CERTIFICATE, unsigned._signed()))
        return replace(unsigned, signature=signature)

    @property
    def node_id(self) -> bytes:
        """SHA-256 of ``signing``, 32 bytes."""
        return node_id_of(self.signing)

    def to_bytes(self) -> bytes:
        """Return the certificate's bytes."""
        return self._signed() + self.signature

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote; its signature is for ``check``.

        Raises:
            ValueError: If it is anything else, to the byte.
        """
        fleet, at = _fleet_of(content)
        if len(content) != at + _SIGNING + PUBLIC_BYTES + _TIME + SIGNATURE_BYTES:
            raise ValueError("a certificate has another length")
        signing, recipient, end = at + _SIGNING, at + _SIGNING + PUBLIC_BYTES, -SIGNATURE_BYTES
        return cls(
            fleet=fleet,
            signing=content[at:signing],
            recipient=content[signing:recipient],
            not_after=int.from_bytes(content[recipient:end], "big"),
            signature=content[end:],
        )

    def check(self, authority_public: bytes, fleet: str, now: float) -> None:
        """Accept the certificate, or raise.

        Args:
            authority_public: Pinned key of the enrolment authority, 32 bytes.
            fleet: Name of the receiver's own fleet.
            now: Unix seconds.

        Raises:
            SealRefusedError: If it is not signed by the authority, of another fleet, or too old.
        """
        text = _text(_CERTIFICATE, self._signed())
        if not verify_ed25519(authority_public, self.signature, text):
            raise SealRefusedError(Refusal.BAD_SIGNATURE)
        if self.fleet != fleet:
            raise SealRefusedError(Refusal.WRONG_FLEET)
        if not now <= self.not_after:  # true for NaN too
            raise SealRefusedError(Refusal.EXPIRED)

    def _signed(self) -> bytes:
        start = _start(self.fleet) + self.signing + self.recipient
        return start + self.not_after.to_bytes(_TIME, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a node sends to be enrolled: its public keys, and proof that it holds the first.

    Attributes:
        fleet: Name of the fleet it wants to join.
        signing: Ed25519 public key, 32 bytes.
        recipient: Key messages to the node are sealed to, 1,216 bytes.
        signature: By the key of ``signing``.
    """

    fleet: str
    signing: bytes = field(repr=False)
    recipient: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what no node sends."""
        _check(self.fleet, self.signing, self.recipient, self.signature)

    @classmethod
    def make(cls, identity: NodeIdentity, *, fleet: str) -> Self:
        """Return the request of a node."""
        signing, recipient = identity.signing.public, identity.recipient.public
        text = _text(_REQUEST, _start(fleet) + signing + recipient)
        signature = identity.signing.sign(text)
        return cls(fleet=fleet, signing=signing, recipient=recipient, signature=signature)

    @property
    def node_id(self) -> bytes:
        """SHA-256 of ``signing``, 32 bytes."""
        return node_id_of(self.signing)

    def to_bytes(self) -> bytes:
        """Return the request's bytes."""
        return _start(self.fleet) + self.signing + self.recipient + self.signature

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote; its signature is for ``check``.

        Raises:
            ValueError: If it is anything else, to the byte.
        """
        fleet, at = _fleet_of(content)
        if len(content) != at + _SIGNING + PUBLIC_BYTES + SIGNATURE_BYTES:
            raise ValueError("a request has another length")
        signing, end = at + _SIGNING, -SIGNATURE_BYTES
        return cls(
            fleet=fleet,
            signing=content[at:signing],
            recipient=content[signing:end],
            signature=content[end:],
        )

    def check(self, fleet: str) -> None:
        """Accept the request as one of a node that holds its key, for this fleet.

        Raises:
            SealRefusedError: If it is not, or nothing can be sealed to its other key.
        """
        text = _text(_REQUEST, _start(self.fleet) + self.signing + self.recipient)
        if not verify_ed25519(self.signing, self.signature, text):
            raise SealRefusedError(Refusal.BAD_SIGNATURE)
        if self.fleet != fleet:
            raise SealRefusedError(Refusal.WRONG_FLEET)
        try:
            check_public(self.recipient)
        except ValueError:
            raise SealRefusedError(Refusal.BAD_KEY) from None


def _text(label: bytes, content: bytes) -> bytes:
    return label + sha256(content).digest()


def _start(fleet: str) -> bytes:
    name = fleet.encode()
    if not 0 < len(name) <= _LONGEST:
        raise ValueError(f"fleet must have 1 to {_LONGEST} bytes of UTF-8")
    return bytes([_VERSION, len(name)]) + name


def _fleet_of(content: bytes) -> tuple[str, int]:
    """Return the fleet's name and where it ends."""
    if content[:1] != bytes([_VERSION]) or len(content) < 2:  # noqa: PLR2004 - version, length
        raise ValueError("it has another version")
    end = 2 + content[1]
    return content[2:end].decode(), end


def _check(fleet: str, signing: bytes, recipient: bytes, signature: bytes) -> None:
    _start(fleet)
    sizes = (len(signing), len(recipient), len(signature))
    if sizes != (_SIGNING, PUBLIC_BYTES, SIGNATURE_BYTES):
        raise ValueError("a key or the signature has another length")
