"""Encrypt the model once for all nodes of a round; its key travels inside each node's envelope.

AES-256-GCM (NIST SP 800-38D) with a fresh key for each model and a zero nonce: a key encrypts one
model and no other. The associated data is a label and the model's digest.

    ciphertext   AES-256-GCM(key, nonce 0, float32 parameters, little-endian;
                             "homebody/model/v1" 0x00 SHA-256(parameters)) and its 16-byte tag

The digest is in the signed header of every envelope of the session; the ciphertext alone proves
nothing of who made it, since all nodes of the round hold its key.
"""

import hmac
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .envelope import Refusal, is_hex
from .errors import SealRefusedError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
_LABEL: Final = b"homebody/model/v1\0"
_NONCE: Final = bytes(12)  # each key encrypts one model
_WORD: Final = 4


def encrypt_model(parameters: npt.NDArray[np.float32], model_sha256: str) -> tuple[bytes, bytes]:
    """Encrypt a model under a new key.

    Args:
        parameters: Flat float32 parameters, shape ``(size,)``.
        model_sha256: SHA-256 of their little-endian bytes, hex.

    Returns:
        Ciphertext, ``4 * size + 16`` bytes, and its key, 32 bytes. The key is secret.

    Raises:
        ValueError: If ``model_sha256`` is the digest of another model.
    """
    plain = np.ascontiguousarray(parameters, "<f4").tobytes()
    if sha256(plain).hexdigest() != model_sha256:
        raise ValueError("model_sha256 is not the digest of these parameters")
    key = AESGCM.generate_key(bit_length=8 * KEY_BYTES)
    return AESGCM(key).encrypt(_NONCE, plain, _associated(model_sha256)), key


def decrypt_model(ciphertext: bytes, key: bytes, *, model_sha256: str) -> npt.NDArray[np.float32]:
    """Return the model, if it is the one with this digest.

    Args:
        ciphertext: What came beside the envelope.
        key: What came inside.
        model_sha256: Digest of the envelope's header, hex.

    Returns:
        Float32 parameters, shape ``(size,)``, read-only.

    Raises:
        SealRefusedError: If it cannot be opened or is another model.
    """
    if len(key) != KEY_BYTES or not is_hex(model_sha256, 64):
        raise SealRefusedError(Refusal.BAD_KEY)
    try:
        plain = AESGCM(key).decrypt(_NONCE, ciphertext, _associated(model_sha256))
    except InvalidTag:
        raise SealRefusedError(Refusal.CANNOT_BE_OPENED) from None
    if not hmac.compare_digest(sha256(plain).hexdigest(), model_sha256) or len(plain) % _WORD:
        raise SealRefusedError(Refusal.WRONG_MODEL)
    return np.frombuffer(plain, "<f4")


def _associated(model_sha256: str) -> bytes:
    return _LABEL + bytes.fromhex(model_sha256)
