"""Unpredictable bits for noise and coins: a ChaCha20 keystream, and keys derived for one use.

ChaCha20: RFC 8439. HKDF: RFC 5869 with SHA-256. Both from ``cryptography``. Generators of numpy
and torch are never used here: their state can be recovered or set from outside, and who knows it
subtracts the noise.
"""

import os
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
WORD_LIMIT: Final = 1 << 35
"""Words of 8 bytes in one keystream: 2**32 blocks of 64 bytes, then its counter would repeat."""


_ZEROS: Final = memoryview(bytes(1 << 16))  # enciphered, they are the keystream itself


class NoiseStream:
    """Consecutive 64-bit words of one ChaCha20 keystream; no word is ever given out twice.

    Args:
        key: 32 bytes for this stream alone: from ``fresh_key``, or from ``derive_key`` with the
            round and the use among the labels. Secret; not shown by ``repr``.

    Raises:
        ValueError: If the key is not 32 bytes long.

    Examples:
        >>> stream = NoiseStream(bytes(32))
        >>> [hex(int(word)) for word in stream.words(2)]
        ['0x903df1a0ade0b876', '0x28bd8653e56a5d40']
        >>> stream
        NoiseStream(words_used=2)
    """

    __slots__ = ("_keystream", "_used")

    def __init__(self, key: bytes) -> None:
        """Start the keystream at block 0 with a zero nonce: the key is used for nothing else."""
        _check_key(key)
        self._keystream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._used = 0

    def __repr__(self) -> str:
        """Show how much was used, never the key."""
        return f"NoiseStream(words_used={self._used})"

    def words(self, n: int) -> npt.NDArray[np.uint64]:
        """Take the next ``n`` words.

        Args:
            n: How many, at least 0.

        Returns:
            uint64 array of shape ``(n,)``, uniform, read-only. Secret.

        Raises:
            ValueError: If ``n`` is negative.
            OverflowError: If the keystream would pass ``WORD_LIMIT``; nothing is taken.
        """
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        if self._used + n > WORD_LIMIT:
            raise OverflowError(f"one key gives at most {WORD_LIMIT} words; derive a new key")
        self._used += n
        words = np.empty(n, dtype="<u8")
        block = words.view(np.uint8).data
        for start in range(0, 8 * n, len(_ZEROS)):
            part = block[start : start + len(_ZEROS)]
            if self._keystream.update_into(_ZEROS[: len(part)], part) != len(part):
                raise RuntimeError("the keystream stopped: what memory held is no noise")
        words.flags.writeable = False
        return words.astype(np.uint64, copy=False)


def derive_key(master: bytes, *labels: str | int) -> bytes:
    """Derive the key of one use from a master key.

    Args:
        master: At least 32 bytes of full entropy. Secret.
        labels: What the key is for, from general to particular, such as
            ``"homebody/noise/v1", run, round``. Public.

    Returns:
        32 bytes, as secret as ``master``.

    Raises:
        ValueError: If ``master`` is short or there is no label.

    Guarantees:
        Different sequences of labels give independent keys: every label is written with its type
        and its length, so ``("a", "bc")``, ``("ab", "c")``, ``("1",)`` and ``(1,)`` all differ.

    Examples:
        >>> derive_key(bytes(32), "a", "bc") == derive_key(bytes(32), "ab", "c")
        False
    """
    if len(master) < KEY_BYTES:
        raise ValueError(f"the master key must have at least {KEY_BYTES} bytes, got {len(master)}")
    if not labels:
        raise ValueError("a derived key needs a label that says what it is for")
    info = b"homebody/key/v1\0" + b"".join(map(_encoded, labels))
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master)


def fresh_key() -> bytes:
    """Take 32 bytes from the operating system. Secret."""
    return os.urandom(KEY_BYTES)


def _encoded(label: str | int) -> bytes:
    kind = b"i" if isinstance(label, int) else b"s"
    body = str(label).encode()
    return kind + len(body).to_bytes(4, "big") + body


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"key must have {KEY_BYTES} bytes, got {len(key)}")
