"""Private keys stay where they are; a node's identity survives its file and nothing else."""

import copy
import pickle
from dataclasses import FrozenInstanceError
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.errors import InvalidFileError
from homebody_privacy.identity import (
    PUBLIC_BYTES,
    SECRET_BYTES,
    NodeIdentity,
    RecipientKey,
    check_public,
    node_id_of,
    public_key,
)

from .sealed_world import NODE, SERVER_KEY, counted

SECRET = counted(0x40, 96)


def test_a_recipient_key_is_its_seed_and_its_scalar() -> None:
    assert SERVER_KEY.to_bytes() == SECRET
    assert len(SERVER_KEY.public) == PUBLIC_BYTES == 1216
    assert SERVER_KEY.key_id == sha256(SERVER_KEY.public).hexdigest()


def test_generated_keys_differ_in_both_halves() -> None:
    one, other = RecipientKey.generate(), RecipientKey.generate()
    assert one.to_bytes()[:64] != other.to_bytes()[:64]
    assert one.to_bytes()[64:] != other.to_bytes()[64:]
    assert len(one.to_bytes()) == SECRET_BYTES


@pytest.mark.parametrize("size", [0, 95, 97])
def test_a_recipient_key_of_another_size_cannot_be_built(size: int) -> None:
    with pytest.raises(ValueError, match="96 bytes"):
        RecipientKey.from_bytes(bytes(size))


@pytest.mark.parametrize("shown", [repr, str, "{!r}".format, "%s".__mod__])
def test_private_keys_cannot_be_printed(shown: object) -> None:
    assert callable(shown)
    assert shown(SERVER_KEY) == "RecipientKey()"
    assert shown(NODE) == "NodeIdentity()"


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("key", [SERVER_KEY, NODE], ids=["recipient", "identity"])
def test_private_keys_cannot_be_pickled_or_copied(leak: object, key: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError, match="private key"):
        leak(key)


def test_private_keys_cannot_be_compared_or_put_into_a_set() -> None:
    twin = RecipientKey.from_bytes(SECRET)
    with pytest.raises(TypeError, match="key_id"):
        _ = twin == SERVER_KEY
    with pytest.raises(TypeError, match="key_id"):
        _ = twin != SERVER_KEY
    with pytest.raises(TypeError, match="unhashable"):
        _ = {SERVER_KEY}
    assert twin.key_id == SERVER_KEY.key_id
    same = NodeIdentity(signing=NODE.signing, recipient=NODE.recipient)
    assert same != NODE
    assert same.node_id == NODE.node_id


def test_an_identity_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        NODE.signing = NODE.signing  # type: ignore[misc]


def test_the_id_of_a_node_is_the_hash_of_its_public_key() -> None:
    assert NODE.node_id == node_id_of(NODE.signing.public) == sha256(NODE.signing.public).digest()
    assert len(NODE.node_id) == 32


def test_an_identity_survives_its_file_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    NODE.save(path)
    read = NodeIdentity.load(path)
    assert read.signing.secret == NODE.signing.secret
    assert read.recipient.to_bytes() == NODE.recipient.to_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    label = b"homebody/identity/v1\0"
    assert path.read_bytes() == label + counted(0x81, 32) + counted(0xA0, 96)


def test_an_identity_is_never_written_over_another(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    NODE.save(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        NodeIdentity.generate().save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_an_identity_file_others_have_rights_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.key"
    NODE.save(path)
    path.chmod(mode)
    with pytest.raises(InvalidFileError, match="others than the owner") as refusal:
        NodeIdentity.load(path)
    assert "chmod 600" in refusal.value.fix


@given(st.data())
def test_a_damaged_identity_file_is_refused_and_not_shown(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("keys") / "identity.key"
    NODE.save(path)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(data.draw(st.sampled_from([whole[:cut], whole + b"\0", b"\0" + whole[1:]])))
    with pytest.raises(InvalidFileError, match="no identity") as refusal:
        NodeIdentity.load(path)
    assert NODE.signing.secret.hex() not in str(refusal.value)


def test_a_missing_identity_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"absent\.key"):
        NodeIdentity.load(tmp_path / "absent.key")


def test_a_public_key_of_another_size_or_without_a_secret_to_share_is_refused() -> None:
    check_public(SERVER_KEY.public)
    for raw in (b"", SERVER_KEY.public + b"\0"):
        with pytest.raises(ValueError, match="1216 bytes"):
            public_key(raw)
    with pytest.raises(ValueError, match="shared key"):
        check_public(SERVER_KEY.public[:1184] + bytes(32))
