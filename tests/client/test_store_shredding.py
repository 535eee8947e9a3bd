"""What was dropped is gone from the disk; what was encrypted under a lost key stays shut."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homebody_client.keystores import FileKeyStore, KeyringStore, KeyStore, PassphraseKeyStore
from homebody_client.store import Store
from homebody_client.vault import Vault
from homebody_privacy.errors import IntegrityError

from .memory_ring import MemoryRing
from .store_home import (
    DEDUPE,
    KEYS,
    OTHER,
    PURPOSE,
    SEGMENT,
    bytes_of,
    filled,
    opened,
    row,
    windows,
)


def _bodies(folder: Path, select: str) -> list[bytes]:
    db = sqlite3.connect(folder / "store.sqlite")
    found = [bytes(body) for (body,) in db.execute(select)]
    db.close()
    return found


def _pieces(bodies: Iterable[bytes]) -> set[bytes]:
    return {body[start : start + 16] for body in bodies for start in range(0, len(body) - 15, 16)}


def test_cn_02_a_dropped_feature_leaves_no_byte_of_its_rows_on_disk(tmp_path: Path) -> None:
    store = filled(tmp_path, rows=300)
    gone = _pieces(_bodies(tmp_path, "SELECT body FROM rows WHERE feature = 'purchases'"))
    gone |= _pieces(_bodies(tmp_path, "SELECT body FROM wraps WHERE feature = 'purchases'"))
    assert all(piece in bytes_of(tmp_path) for piece in gone)
    store.drop_feature("purchases")
    left = bytes_of(tmp_path)  # the store is still open: the journal is looked through as well
    assert not any(piece in left for piece in gone)
    assert store.wraps() == {"tastes": ("recommend",)}
    assert store.rows("purchases", SEGMENT) == []
    assert len(store.rows("tastes", OTHER)) == 300
    store.close()


def test_deleted_and_corrected_rows_leave_no_byte_on_disk(tmp_path: Path) -> None:
    store = filled(tmp_path, rows=50)
    gone = _pieces(_bodies(tmp_path, "SELECT body FROM rows WHERE seq <= 7"))
    gone |= _pieces(_bodies(tmp_path, "SELECT body FROM derived"))
    gone |= _pieces(_bodies(tmp_path, "SELECT body FROM outgoing"))
    assert store.delete([2, 3, 4, 5, 6, 7]) == 6
    store.replace(1, {"n": 0}, SEGMENT)
    store.drop_derived(["user-vector", "unknown"])
    store.dequeue([1, 77])
    left = bytes_of(tmp_path)
    assert not any(piece in left for piece in gone)
    assert (store.derived_index(), store.queue(PURPOSE)) == ([], [])
    store.close()


def test_r13_a_derived_thing_that_is_replaced_leaves_no_byte_on_disk(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.put_derived("model", frozenset(), bytes(20_000), PURPOSE)
    gone = _pieces(_bodies(tmp_path, "SELECT body FROM derived WHERE name = 'model'"))
    store.put_derived("model", frozenset(), b"", PURPOSE)
    left = bytes_of(tmp_path)
    assert not any(piece in left for piece in gone)
    store.close()


def test_a_cleared_store_is_as_small_as_a_new_one(tmp_path: Path) -> None:
    with opened(tmp_path / "new") as new:
        size = new.size()
    with filled(tmp_path, rows=500) as store:
        assert store.size() > 4 * size
        store.clear()
        assert store.size() == size
        assert (store.wraps(), store.derived_index(), store.queue(PURPOSE)) == ({}, [], [])
    opened(tmp_path).close()


def _key_store(kind: str, folder: Path, ring: MemoryRing) -> KeyStore:
    if kind == "os-keyring":
        return KeyringStore(ring, "0" * 32)
    return FileKeyStore(folder) if kind == "file" else PassphraseKeyStore(folder, "four words")


@pytest.mark.parametrize("kind", ["os-keyring", "passphrase", "file"])
def test_cn_28_cr_23_no_key_left_on_the_device_opens_an_old_block(
    tmp_path: Path, kind: str
) -> None:
    ring, state, profile = MemoryRing(), tmp_path / "state", tmp_path / "profile"
    vault = Vault.open(state / "keys.vault", _key_store(kind, state, ring))
    vault.change({"note": "kept"}, new_keys=["purpose:recommend", "device-signing"])
    purpose = vault.key("purpose:recommend") or b""
    with Store.open(profile / "store.sqlite", dedupe_key=DEDUPE) as store:
        store.set_wraps("purchases", SEGMENT, {"recommend": purpose})
        store.append([row(n) for n in range(3)], KEYS)
        old_vault = (state / "keys.vault").read_bytes()
        old_store = (profile / "store.sqlite").read_bytes()
        (old_wrap,) = _bodies(profile, "SELECT body FROM wraps")

        def opens(candidates: Iterable[bytes]) -> list[str]:
            return [what for key in candidates for what in _opened_by(key, old_vault, old_wrap)]

        assert opens([purpose]) == ["wrap"]  # the check can see
        held = _held(state, ring)
        assert ("vault" in opens(windows(held))) == (kind != "passphrase")
        vault.change(drop_keys=["purpose:recommend"])
        store.drop_feature("purchases")
    left = _held(state, ring) + bytes_of(profile)
    assert opens(windows(left)) == []
    assert opens(windows(old_store)) == []
    again = Vault.open(state / "keys.vault", _key_store(kind, state, ring))
    assert again.names() == ("device-signing", "note")


@pytest.mark.parametrize("kind", ["os-keyring", "passphrase", "file"])
def test_where_old_copies_of_all_files_still_open_the_key_store_says_so(
    tmp_path: Path, kind: str
) -> None:
    ring, state, old = MemoryRing(), tmp_path / "state", tmp_path / "old"
    vault = Vault.open(state / "keys.vault", _key_store(kind, state, ring))
    vault.change(new_keys=["purpose:recommend"])
    key = vault.key("purpose:recommend")
    old.mkdir()
    for file in state.iterdir():
        (old / file.name).write_bytes(file.read_bytes())
        (old / file.name).chmod(0o600)
    vault.change(drop_keys=["purpose:recommend"])
    store = _key_store(kind, old, ring)
    try:
        still_opens = Vault.open(old / "keys.vault", store).key("purpose:recommend") == key
    except IntegrityError:
        still_opens = False
    assert still_opens == bool(store.weaker)
    assert still_opens == (kind != "os-keyring")
    assert not still_opens or "old copies" in store.weaker


def _held(state: Path, ring: MemoryRing) -> bytes:
    return bytes_of(state) + "".join(ring.entries.values()).encode()


def _opened_by(key: bytes, old_vault: bytes, old_wrap: bytes) -> Iterable[str]:
    label = b"homebody/vault/v1\0"
    place = b"".join(
        len(part).to_bytes(4, "big") + part for part in (b"wrap", b"purchases", b"recommend")
    )
    tries = (
        ("vault", old_vault[len(label) :], label),
        ("wrap", old_wrap, b"homebody/store/v1" + place),
    )
    for what, sealed, bound in tries:
        try:
            AESGCM(key).decrypt(sealed[:12], sealed[12:], bound)
        except InvalidTag:
            continue
        yield what
