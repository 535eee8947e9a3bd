"""The messages of a secure sum, as bytes.

Each starts with a byte of version and a byte of kind; numbers are big-endian and unsigned, words
of masked vectors little-endian. Nodes go by their number in the roster; a set of them is a bitmap,
node ``i`` at bit ``i % 8`` of byte ``i // 8``, with zeros beyond the last. Decoders use up every
byte and take no second spelling of anything, or raise ``ValueError``. ``docs/protocol.md`` shows
all of it, ``tests/vectors/secagg_*.json`` examples.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

import numpy as np

from .masks import SEALED_BYTES, Words, word_type
from .parameters import MOST
from .session import KEY_BYTES, WORD_BITS
from .shamir import SHARE_BYTES

VERSION: Final = 1
SIGNATURE_BYTES: Final = 64
CERTIFICATE_BYTES: Final = 1 << 16  # at most


class _Message(ABC):
    """What all messages share: how they are read."""

    __slots__ = ()
    kind: ClassVar[int]

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read the whole message; ``ValueError`` if it is not one, to the byte."""
        reader = _Reader(content, cls.kind)
        found = cls.read(reader)
        reader.end()
        return found

    @classmethod
    @abstractmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advert(_Message):
    """Up: the keys a node made for this sum, signed with its identity. Public.

    Attributes:
        mask_key: X25519, for masks; 32 bytes.
        channel_key: X25519, for shares; 32 bytes.
        signature: Ed25519 over ``Session.advert_text``; 64 bytes.
    """

    kind: ClassVar[int] = 1
    mask_key: bytes
    channel_key: bytes
    signature: bytes = field(repr=False)

    def body(self) -> bytes:
        """Return the 128 bytes without version and kind."""
        return self.mask_key + self.channel_key + self.signature

    def to_bytes(self) -> bytes:
        """Return the message."""
        return _head(self.kind) + self.body()

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        return cls(
            mask_key=reader.take(KEY_BYTES),
            channel_key=reader.take(KEY_BYTES),
            signature=reader.take(SIGNATURE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Roster(_Message):
    """Down: certificate and advert of everybody, in increasing order of node id. Public."""

    kind: ClassVar[int] = 2
    members: tuple[tuple[bytes, Advert], ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        parts = [_head(self.kind), _number(len(self.members))]
        for certificate, advert in self.members:
            parts += (_number(len(certificate)), certificate, advert.body())
        return b"".join(parts)

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        members = []
        for _ in range(reader.number(MOST)):
            certificate = reader.take(reader.number(CERTIFICATE_BYTES))
            members.append((certificate, Advert.read(reader)))
        return cls(tuple(members))


@dataclass(frozen=True, slots=True)
class Shares(_Message):
    """Up: encrypted shares for each neighbour, in increasing order of their numbers."""

    kind: ClassVar[int] = 3
    sealed: tuple[bytes, ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        return _head(self.kind) + _pieces(self.sealed)

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        return cls(reader.pieces(SEALED_BYTES))


@dataclass(frozen=True, slots=True)
class Forwarded(_Message):
    """Down: who shared, and the shares of those among the receiver's neighbours, in order.

    Attributes:
        participants: Nodes of the roster.
        shared: Numbers of those who shared, increasing; U2.
        sealed: What they encrypted to the receiver.
    """

    kind: ClassVar[int] = 4
    participants: int
    shared: tuple[int, ...] = field(repr=False)
    sealed: tuple[bytes, ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        listed = _number(self.participants) + bitmap(self.shared, self.participants)
        return _head(self.kind) + listed + _pieces(self.sealed)

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        count = reader.number(MOST)
        return cls(count, reader.bitmap(count), reader.pieces(SEALED_BYTES))


@dataclass(frozen=True, slots=True)
class Masked(_Message):
    """Up: a masked vector, and the commitment to the self seed under it.

    Attributes:
        commitment: ``Session.commitment``; 32 bytes. Public.
        words: Masked words, uniform to whoever lacks a mask.
    """

    kind: ClassVar[int] = 5
    commitment: bytes
    words: Words = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        size = (8 * self.words.itemsize).to_bytes(2, "big") + _number(self.words.size)
        little = self.words.astype(word_type(8 * self.words.itemsize), copy=False)
        return b"".join((_head(self.kind), size, self.commitment, little.data))

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        bits = int.from_bytes(reader.take(2), "big")
        if bits not in WORD_BITS:
            raise ValueError("a word has 32 or 64 bits")
        length, commitment = reader.number(), reader.take(KEY_BYTES)
        return cls(commitment, reader.words(length, bits))


@dataclass(frozen=True, slots=True)
class Survivors(_Message):
    """Down: whose vectors are in the sum (U3), and who shared but vanished (U2 without U3).

    Attributes:
        participants: Nodes of the roster.
        alive: Numbers of the survivors, increasing.
        gone: Numbers of those who vanished, increasing.
    """

    kind: ClassVar[int] = 6
    participants: int
    alive: tuple[int, ...] = field(repr=False)
    gone: tuple[int, ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        lists = bitmap(self.alive, self.participants) + bitmap(self.gone, self.participants)
        return _head(self.kind) + _number(self.participants) + lists

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        count = reader.number(MOST)
        return cls(count, reader.bitmap(count), reader.bitmap(count))


@dataclass(frozen=True, slots=True)
class Confirmation(_Message):
    """Up: a survivor's signature over R and the digest of the survivors. Public."""

    kind: ClassVar[int] = 7
    signature: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        return _head(self.kind) + self.signature

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        return cls(reader.take(SIGNATURE_BYTES))


@dataclass(frozen=True, slots=True)
class Quorum(_Message):
    """Down: signatures of survivors by number, which increases. Public."""

    kind: ClassVar[int] = 8
    signatures: tuple[tuple[int, bytes], ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        parts = [_head(self.kind), _number(len(self.signatures))]
        for number, signature in self.signatures:
            parts += (_number(number), signature)
        return b"".join(parts)

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        count = reader.number(MOST)
        found = [(reader.number(MOST), reader.take(SIGNATURE_BYTES)) for _ in range(count)]
        numbers = [number for number, _ in found]
        if numbers != sorted(set(numbers)):
            raise ValueError("signatures must be in increasing order of nodes")
        return cls(tuple(found))


@dataclass(frozen=True, slots=True)
class Unmasking(_Message):
    """Up: of each node whose shares the sender holds and that shared, one share, in order.

    Of the self seed if it survived, of the mask key if it vanished; which is which, sender and
    server both know.
    """

    kind: ClassVar[int] = 9
    shares: tuple[bytes, ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the message."""
        return _head(self.kind) + _pieces(self.shares)

    @classmethod
    def read(cls, reader: "_Reader") -> Self:
        """Read what follows version and kind."""
        return cls(reader.pieces(SHARE_BYTES))


def bitmap(numbers: Sequence[int], count: int) -> bytes:
    """Return a set of numbers below ``count`` as ``ceil(count / 8)`` bytes.

    Examples:
        >>> bitmap([0, 9], 10).hex()
        '0102'
    """
    flags = np.zeros(count, np.uint8)
    flags[list(numbers)] = 1
    return np.packbits(flags, bitorder="little").tobytes()


class _Reader:
    """Takes a message apart from its start."""

    __slots__ = ("_at", "_content")

    def __init__(self, content: bytes, kind: int) -> None:
        self._content, self._at = content, 0
        if self.take(2) != _head(kind):
            raise ValueError("the message has another version or kind")

    def take(self, size: int) -> bytes:
        """Take so many bytes."""
        end = self._at + size
        if end > len(self._content):
            raise ValueError("the message ends too early")
        part = self._content[self._at : end]
        self._at = end
        return part

    def number(self, most: int = (1 << 32) - 1) -> int:
        """Take a number of four bytes."""
        value = int.from_bytes(self.take(4), "big")
        if value > most:
            raise ValueError("a number is out of range")
        return value

    def pieces(self, size: int) -> tuple[bytes, ...]:
        """Take a count and so many pieces of one size."""
        block = self.take(size * self.number(MOST))
        return tuple(block[at : at + size] for at in range(0, len(block), size))

    def bitmap(self, count: int) -> tuple[int, ...]:
        """Take a set of numbers below ``count``."""
        block = self.take((count + 7) // 8)
        flags = np.unpackbits(np.frombuffer(block, np.uint8), bitorder="little")
        if flags[count:].any():
            raise ValueError("a list names nodes beyond the last")
        return tuple(np.flatnonzero(flags).tolist())

    def words(self, length: int, bits: int) -> Words:
        """Take words without copying them."""
        kind = word_type(bits)
        size = length * kind.itemsize
        if len(self._content) - self._at < size:
            raise ValueError("the message ends too early")
        found = np.frombuffer(self._content, kind, length, self._at)
        self._at += size
        return found

    def end(self) -> None:
        """Refuse bytes that are left over."""
        if self._at != len(self._content):
            raise ValueError("bytes are left over at the end of the message")


def _head(kind: int) -> bytes:
    return bytes([VERSION, kind])


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _pieces(parts: Sequence[bytes]) -> bytes:
    return _number(len(parts)) + b"".join(parts)
