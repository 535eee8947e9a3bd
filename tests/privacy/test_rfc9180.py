"""HPKE of the cryptography library against the vectors of RFC 9180 and of its hybrid with ML-KEM.

The vectors come with ``cryptography-vectors``: those of RFC 9180, appendix A, and those of the
post-quantum draft. A vector gives the encapsulated key and the ciphertext; we decrypt. Single-shot
HPKE is the first message of a context, so the first encryption of each vector is the one.
"""

import hashlib
import json
from typing import Any, Final

import cryptography_vectors
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from homebody_privacy.identity import RecipientKey

Vector = dict[str, Any]
AEADS: Final = {1: AEAD.AES_128_GCM, 2: AEAD.AES_256_GCM, 3: AEAD.CHACHA20_POLY1305}
KDFS: Final = {
    1: KDF.HKDF_SHA256,
    2: KDF.HKDF_SHA384,
    3: KDF.HKDF_SHA512,
    16: KDF.SHAKE128,
    17: KDF.SHAKE256,
}
KEMS: Final = {
    16: KEM.P256,
    18: KEM.P521,
    32: KEM.X25519,
    65: KEM.MLKEM768,
    66: KEM.MLKEM1024,
    0x647A: KEM.MLKEM768_X25519,
}
BASE: Final = 0
HYBRID: Final = 0x647A


def vectors(file: str) -> list[Vector]:
    with cryptography_vectors.open_vector_file(f"HPKE/{file}", "r") as opened:
        found: list[Vector] = json.load(opened)
    return [
        one
        for one in found
        if one["mode"] == BASE
        and one["kem_id"] in KEMS
        and one["kdf_id"] in KDFS
        and one["aead_id"] in AEADS
    ]


def name(vector: Vector) -> str:
    return "-".join(str(vector[part]) for part in ("kem_id", "kdf_id", "aead_id"))


CLASSIC: Final = vectors("test-vectors.json")
POST_QUANTUM: Final = vectors("hpke-pq-test-vectors.json")


def hybrid_secret(vector: Vector) -> bytes:
    """Return ML-KEM seed and X25519 scalar, from the 32-byte seed of the vector."""
    return hashlib.shake_256(bytes.fromhex(vector["skRm"])).digest(96)


def private(vector: Vector) -> Any:  # noqa: ANN401 - one class a KEM
    secret = bytes.fromhex(vector["skRm"])
    match vector["kem_id"]:
        case 16:
            return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
        case 18:
            return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP521R1())
        case 32:
            return x25519.X25519PrivateKey.from_private_bytes(secret)
        case 65:
            return mlkem.MLKEM768PrivateKey.from_seed_bytes(secret)
        case 66:
            return mlkem.MLKEM1024PrivateKey.from_seed_bytes(secret)
        case _:
            whole = hybrid_secret(vector)
            return MLKEM768X25519PrivateKey(
                mlkem.MLKEM768PrivateKey.from_seed_bytes(whole[:64]),
                x25519.X25519PrivateKey.from_private_bytes(whole[64:]),
            )


def opened(vector: Vector, *, info: bytes | None = None, ending: bytes = b"") -> bytes:
    suite = Suite(KEMS[vector["kem_id"]], KDFS[vector["kdf_id"]], AEADS[vector["aead_id"]])
    first = vector["encryptions"][0]
    sealed = bytes.fromhex(vector["enc"] + first["ct"]) + ending
    context = bytes.fromhex(vector["info"]) if info is None else info
    return openssl.hpke._decrypt_with_aad(  # noqa: SLF001 - there for vectors
        suite, sealed, private(vector), context, bytes.fromhex(first["aad"])
    )


def test_every_base_case_of_the_rfc_with_a_supported_suite_is_there() -> None:
    assert len(CLASSIC) == 18
    assert [one["kem_id"] for one in POST_QUANTUM].count(HYBRID) == 2


@pytest.mark.parametrize("vector", [*CLASSIC, *POST_QUANTUM], ids=name)
def test_the_vectors_of_rfc_9180_open(vector: Vector) -> None:
    assert opened(vector) == bytes.fromhex(vector["encryptions"][0]["pt"])


@pytest.mark.parametrize("vector", [*CLASSIC, *POST_QUANTUM], ids=name)
def test_a_vector_does_not_open_under_another_info_or_with_a_byte_more(vector: Vector) -> None:
    with pytest.raises(InvalidTag):
        opened(vector, info=bytes.fromhex(vector["info"]) + b"\0")
    with pytest.raises(InvalidTag):
        opened(vector, ending=b"\0")


@pytest.mark.parametrize(
    "vector", [one for one in POST_QUANTUM if one["kem_id"] == HYBRID], ids=name
)
def test_our_recipient_key_is_the_hybrid_of_the_vectors(vector: Vector) -> None:
    key = RecipientKey.from_bytes(hybrid_secret(vector))
    assert key.public == bytes.fromhex(vector["pkRm"])
    assert key.to_bytes() == hybrid_secret(vector)
