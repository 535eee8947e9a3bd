"""Keys of pairs of nodes, masks from them, and encrypted shares.

X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), masks from AES-256-CTR from block 0, shares under
ChaCha20-Poly1305 (RFC 8439) with a zero nonce: every key is derived for one use, one session, one
pair and, for shares, one direction, and is used once.
"""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .session import KEY_BYTES, Session

Words = npt.NDArray[np.unsignedinteger[Any]]

SEALED_BYTES: Final = 66 + 16
"""Two shares of 33 bytes and the tag."""

_BLOCK: Final = 1 << 18  # bytes of mask in hand: fits the cache, and long enough to be worth a call
_ZEROS: Final = bytes(_BLOCK)
_NO_NONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True)
class Mask:
    """The key of one mask, and whether the mask is added or taken away."""

    key: bytes = field(repr=False)
    add: bool


def word_type(word_bits: int) -> np.dtype[Any]:
    """Return the type of words on the wire, little-endian."""
    return np.dtype("<u4" if word_bits == 32 else "<u8")  # noqa: PLR2004 - Session allows 32, 64


def to_words(vector: npt.NDArray[np.integer], session: Session) -> Words:
    """Return a vector as new words, modulo the word.

    Args:
        vector: Integers of shape ``(length,)``: of the word's own type, or of any type with values
            in [-2**(word_bits - 1), 2**(word_bits - 1)). Secret.
        session: The sum it is for.

    Raises:
        ValueError: If the vector has another shape or range.
    """
    if vector.shape != (session.length,):
        raise ValueError(f"vector must have shape ({session.length},), got {vector.shape}")
    if vector.dtype.kind not in "iu":
        raise ValueError(f"vector must hold integers, got {vector.dtype}")
    kind = word_type(session.word_bits)
    if vector.dtype.kind == "u" and vector.dtype.itemsize == kind.itemsize:
        return vector.astype(kind)
    half = 1 << (session.word_bits - 1)
    if int(vector.max()) >= half or int(vector.min()) < -half:
        raise ValueError(f"vector does not fit words of {session.word_bits} bits")
    return vector.astype(np.int64).astype(kind)


def centred(total: Words) -> npt.NDArray[np.int64]:
    """Return words as the integers of least size they can stand for."""
    return total.view(f"<i{total.itemsize}").astype(np.int64)


def agree(own: X25519PrivateKey, other: X25519PublicKey) -> bytes:
    """Return the 32 bytes both sides agree on. Secret.

    Raises:
        ValueError: If the other key is of small order, so that anybody could know them.
    """
    return own.exchange(other)


@dataclass(frozen=True, slots=True)
class Deriver:
    """Derives the keys of one sum; HKDF's salt is R, so another roster has other keys.

    Attributes:
        session: The sum. Public.
        digest: R of its roster. Public.
    """

    session: Session
    digest: bytes

    def mask(self, secret: bytes, one: bytes, other: bytes) -> bytes:
        """Return the key of the mask two nodes share; the same whoever asks. Secret."""
        return self._derive(secret, "mask", *sorted((one, other)))

    def own(self, seed: bytes, node_id: bytes) -> bytes:
        """Return the key of the mask a node puts on by itself. Secret."""
        return self._derive(seed, "self", node_id, node_id)

    def share(self, secret: bytes, sender: bytes, receiver: bytes) -> bytes:
        """Return the key of the shares one node sends to another, and not back. Secret."""
        return self._derive(secret, "share", sender, receiver)

    def polynomial(self, secret: bytes, use: str, node_id: bytes) -> bytes:
        """Return the key of the coefficients of one of a node's polynomials. Secret."""
        return self._derive(secret, f"{use}-polynomial", node_id, node_id)

    def _derive(self, secret: bytes, use: str, first: bytes, second: bytes) -> bytes:
        info = self.session.key_info(use, first, second)
        hkdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=self.digest, info=info)
        return hkdf.derive(secret)


def pair_sign(node_id: bytes, other: bytes) -> bool:
    """Tell whether a node adds the mask it shares with another; the other takes it away."""
    return node_id < other


def keystream(key: bytes, n: int) -> bytes:
    """Return the first ``n`` bytes of AES-256-CTR under a key used for nothing else."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(n))


def encrypt_shares(key: bytes, shares: bytes, context: bytes) -> bytes:
    """Encrypt two shares under a key used once."""
    return ChaCha20Poly1305(key).encrypt(_NO_NONCE, shares, context)


def decrypt_shares(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Open what ``encrypt_shares`` made.

    Raises:
        ValueError: If anything about it differs.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(_NO_NONCE, sealed, context)
    except InvalidTag as error:
        raise ValueError("the shares do not open") from error


def apply_masks(total: Words, masks: Iterable[Mask]) -> None:
    """Add masks to words, or take them away, in place, modulo the word.

    Args:
        total: Words of shape ``(length,)``, of ``word_type``.
        masks: Which masks. Secret.
    """
    buffer = bytearray(_BLOCK + 15)  # update_into asks for a block's room beyond
    words: Words = np.frombuffer(buffer, total.dtype, _BLOCK // total.itemsize)
    for mask in masks:
        stream = Cipher(algorithms.AES(mask.key), modes.CTR(bytes(16))).encryptor()
        for start in range(0, total.size, words.size):
            part = total[start : start + words.size]
            zeros = _ZEROS if part.size == words.size else _ZEROS[: part.nbytes]
            stream.update_into(zeros, buffer)
            if mask.add:
                part += words[: part.size]
            else:
                part -= words[: part.size]


def apply_in_parallel(total: Words, jobs: Sequence[Iterable[Mask]], workers: int) -> None:
    """Apply the masks of all jobs, several jobs at a time; AES and addition release the GIL.

    Args:
        total: As for ``apply_masks``.
        jobs: Masks, or generators that make them, in pieces of some milliseconds.
        workers: Threads, from 1. Each holds one vector.
    """
    if workers == 1:
        for job in jobs:
            apply_masks(total, job)
        return
    waiting, lock = iter(jobs), threading.Lock()

    def drain() -> Words:
        own = np.zeros_like(total)
        while True:
            with lock:
                job = next(waiting, None)
            if job is None:
                return own
            apply_masks(own, job)

    with ThreadPoolExecutor(workers) as pool:
        for own in pool.map(lambda _: drain(), range(workers)):
            total += own
