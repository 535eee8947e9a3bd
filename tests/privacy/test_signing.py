"""Ed25519 keys and signatures, and the DSSE encoding."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.errors import InvalidFileError
from homebody_privacy.signing import SigningKey, key_id, pae, verify_ed25519

SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
    "d25bf5f0595bbe24655141438e7a100b"
)


def test_keys_and_signatures_are_those_of_rfc_8032() -> None:
    key = SigningKey(SECRET)  # section 7.1, test 1: the empty message
    assert key.public == PUBLIC
    assert key.sign(b"") == SIGNATURE
    assert verify_ed25519(PUBLIC, SIGNATURE, b"")


def test_a_key_survives_its_file(tmp_path: Path) -> None:
    key = SigningKey.generate()
    key.save(tmp_path / "key")
    assert SigningKey.load(tmp_path / "key") == key
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key").read_bytes() == key.secret


def test_a_key_is_never_written_over_another(tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "key")
    with pytest.raises(FileExistsError):
        SigningKey.generate().save(tmp_path / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_file_others_have_rights_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    SigningKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(InvalidFileError, match="others than the owner") as refusal:
        SigningKey.load(path)
    assert "chmod 600" in refusal.value.fix


def test_a_missing_key_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="absent"):
        SigningKey.load(tmp_path / "absent")


def test_a_key_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(31))
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(InvalidFileError, match="32 raw bytes"):
        SigningKey.load(tmp_path / "key")


def test_a_key_of_another_size_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(33))


def test_the_secret_is_not_in_the_repr() -> None:
    assert repr(SigningKey(SECRET)) == "SigningKey()"


def test_generated_keys_differ() -> None:
    assert SigningKey.generate() != SigningKey.generate()


def test_the_key_id_is_the_hash_of_the_raw_public_key() -> None:
    assert SigningKey(SECRET).key_id == key_id(PUBLIC) == hashlib.sha256(PUBLIC).hexdigest()


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=20))
def test_verification_of_anything_but_a_signature_is_false_and_never_raises(
    public: bytes, signature: bytes, message: bytes
) -> None:
    assert verify_ed25519(public, signature, message) is False
    assert verify_ed25519(PUBLIC, signature, message) is False
    assert verify_ed25519(public, SIGNATURE, b"") is False


@given(st.integers(0, 511))
def test_any_flipped_bit_of_a_signature_breaks_it(bit: int) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verify_ed25519(PUBLIC, bytes(flipped), b"")


@given(st.tuples(st.text(), st.binary()), st.tuples(st.text(), st.binary()))
def test_the_encoding_of_different_payloads_differs(
    a: tuple[str, bytes], b: tuple[str, bytes]
) -> None:
    assert (pae(*a) == pae(*b)) == (a == b)
