"""The model is encrypted once for all nodes, under a key for it alone."""

from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from homebody_models.recommender import model_digest
from homebody_privacy.broadcast import KEY_BYTES, TAG_BYTES, decrypt_model, encrypt_model
from homebody_privacy.errors import SealRefusedError

MODEL = np.array([0.5, -1.25, 3e-7, 0.0], np.float32)
DIGEST = model_digest(MODEL)


@given(arrays.arrays(np.float32, st.integers(0, 200)))
def test_every_node_with_the_key_reads_the_model_bit_by_bit(
    model: npt.NDArray[np.float32],
) -> None:
    digest = model_digest(model)
    ciphertext, key = encrypt_model(model, digest)
    read = decrypt_model(ciphertext, key, model_sha256=digest)
    assert read.tobytes() == model.tobytes()
    assert read.dtype == np.float32
    assert not read.flags.writeable
    assert len(ciphertext) == 4 * model.size + TAG_BYTES
    assert len(key) == KEY_BYTES


def test_no_two_models_share_a_key_or_a_ciphertext() -> None:
    (one, key), (other, other_key) = (encrypt_model(MODEL, DIGEST) for _ in range(2))
    assert key != other_key
    assert one != other
    assert MODEL.tobytes() not in one


def test_a_model_under_the_digest_of_another_is_neither_sent_nor_read() -> None:
    other = model_digest(MODEL + 1)
    with pytest.raises(ValueError, match="not the digest"):
        encrypt_model(MODEL, other)
    ciphertext, key = encrypt_model(MODEL, DIGEST)
    with pytest.raises(SealRefusedError, match="cannot-be-opened"):
        decrypt_model(ciphertext, key, model_sha256=other)


def test_a_node_with_the_key_cannot_pass_another_model_off() -> None:
    _, key = encrypt_model(MODEL, DIGEST)
    label = b"homebody/model/v1\0" + bytes.fromhex(DIGEST)
    forged = AESGCM(key).encrypt(bytes(12), (MODEL + 1).tobytes(), label)
    with pytest.raises(SealRefusedError, match="wrong-model"):
        decrypt_model(forged, key, model_sha256=DIGEST)
    odd = b"13 bytes long"
    label = b"homebody/model/v1\0" + sha256(odd).digest()
    forged = AESGCM(key).encrypt(bytes(12), odd, label)
    with pytest.raises(SealRefusedError, match="wrong-model"):
        decrypt_model(forged, key, model_sha256=sha256(odd).hexdigest())


@given(st.data())
def test_a_changed_cut_or_longer_ciphertext_is_refused(data: st.DataObject) -> None:
    ciphertext, key = encrypt_model(MODEL, DIGEST)
    at = data.draw(st.integers(0, 8 * len(ciphertext) - 1))
    flipped = bytearray(ciphertext)
    flipped[at // 8] ^= 1 << at % 8
    for content in (bytes(flipped), ciphertext[: at // 8], ciphertext + b"\0"):
        with pytest.raises(SealRefusedError, match="cannot-be-opened"):
            decrypt_model(content, key, model_sha256=DIGEST)


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    ciphertext, _ = encrypt_model(MODEL, DIGEST)
    with pytest.raises(SealRefusedError, match="bad-key"):
        decrypt_model(ciphertext, key, model_sha256=DIGEST)


@pytest.mark.parametrize("digest", ["", DIGEST.upper(), DIGEST[:-2], "g" * 64])
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    ciphertext, key = encrypt_model(MODEL, DIGEST)
    with pytest.raises(SealRefusedError, match="bad-key"):
        decrypt_model(ciphertext, key, model_sha256=digest)
