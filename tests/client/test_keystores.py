"""The key of a vault lies where the OS keeps keys, or in a place that says how it is weaker."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keyring.backends import chainer, fail, null

from homebody_client import key_files
from homebody_client.keystores import (
    FileKeyStore,
    KeyringStore,
    KeyStore,
    PassphraseKeyStore,
    best_key_store,
    forget_keys,
)
from homebody_client.vault import Vault
from homebody_privacy.errors import HomebodyError, IntegrityError, InvalidFileError, UsageError

from .memory_ring import MemoryRing

PROFILE = "0123456789abcdef" * 2
KEY, NEXT = b"k" * 32, b"n" * 32
PHRASE = "correct horse battery"


@pytest.fixture
def ring() -> Iterator[MemoryRing]:
    """Put a key store in memory in place of the one of this machine."""
    before, ring = keyring.get_keyring(), MemoryRing()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


@pytest.fixture
def no_ring() -> Iterator[None]:
    """Have keyring find no key store, as on many servers."""
    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]
    yield
    keyring.set_keyring(before)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Argon2id cost nothing."""
    monkeypatch.setattr(key_files, "_PARAMETERS", {"m": 32, "p": 4, "t": 1, "v": 1})


@pytest.fixture(params=["os-keyring", "passphrase", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path, cheap: None) -> KeyStore:
    """Return a key store of each kind."""
    del cheap
    if request.param == "os-keyring":
        return KeyringStore(MemoryRing(), PROFILE)
    if request.param == "passphrase":
        return PassphraseKeyStore(tmp_path, PHRASE)
    return FileKeyStore(tmp_path)


def test_every_key_store_gives_back_what_was_written_last(store: KeyStore) -> None:
    assert store.read() is None
    store.erase()
    for key in (KEY, NEXT + KEY, NEXT):
        store.write(key)
        assert store.read() == key
    store.erase()
    assert store.read() is None
    store.write(KEY)
    assert store.read() == KEY


def test_no_key_store_takes_or_shows_anything_but_keys(store: KeyStore) -> None:
    for wrong in (b"", b"k" * 31, b"k" * 33, b"k" * 96):
        with pytest.raises(ValueError, match="32 bytes"):
            store.write(wrong)
    store.write(KEY)
    assert "kkkk" not in repr(store)
    assert PHRASE not in repr(store)
    assert (store.weaker == "") == (store.kind == "os-keyring")
    assert store.weaker == "" or "stronger" in store.weaker


def test_the_key_store_of_the_os_is_the_first_choice(tmp_path: Path, ring: MemoryRing) -> None:
    store = best_key_store(tmp_path / "state", PROFILE, passphrase=PHRASE)
    assert (store.kind, store.weaker) == ("os-keyring", "")
    assert ring.entries == {}  # the trial is removed
    Vault.open(tmp_path / "state" / "keys.vault", store)
    assert [user for _, user in ring.entries] == [PROFILE]
    assert {file.name for file in (tmp_path / "state").iterdir()} == {"keys.vault"}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert Vault.open(tmp_path / "state" / "keys.vault", _best(tmp_path / "state")).names() == ()


@pytest.mark.usefixtures("no_ring")
def test_without_a_key_store_of_the_os_a_weaker_place_says_that_it_is_weaker(
    tmp_path: Path,
) -> None:
    phrase = best_key_store(tmp_path / "a", PROFILE, passphrase=PHRASE)
    assert (phrase.kind, "pass phrase" in phrase.weaker) == ("passphrase", True)
    file = _best(tmp_path / "b")
    assert (file.kind, "whoever copies both" in file.weaker) == ("file", True)
    file.write(KEY)
    (path,) = (tmp_path / "b").iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == ("kek.key", 0o600)


@pytest.mark.parametrize("kind", ["null", "plain text", "failing chain", "negative", "locked"])
def test_a_key_store_that_protects_nothing_or_does_not_answer_is_not_chosen(
    tmp_path: Path, ring: MemoryRing, kind: str
) -> None:
    class Plain(MemoryRing):
        """As the package keyrings.alt keeps it."""

    Plain.__module__ = "keyrings.alt.file"

    class Chain(chainer.ChainerBackend):
        """A chain of what cannot be used."""

        backends = (Plain(), fail.Keyring())  # type: ignore[no-untyped-call]
        viable = False

    class Negative(MemoryRing):
        """As a backend rates itself that should not be used."""

        priority = -1

    locked = MemoryRing()
    locked.locked = True
    choice = {
        "null": null.Keyring,
        "plain text": Plain,
        "failing chain": Chain,
        "negative": Negative,
        "locked": lambda: locked,
    }
    keyring.set_keyring(choice[kind]())  # type: ignore[no-untyped-call]
    assert _best(tmp_path).kind == "file"
    keyring.set_keyring(ring)


def test_of_a_chain_the_first_that_protects_is_used(tmp_path: Path, ring: MemoryRing) -> None:
    class Chain(chainer.ChainerBackend):
        """A chain with one key store that can be used."""

        backends = (fail.Keyring(), ring)  # type: ignore[no-untyped-call]
        viable = False

    keyring.set_keyring(Chain())  # type: ignore[no-untyped-call]
    assert _best(tmp_path).kind == "os-keyring"
    assert ring.asked > 0


def test_without_keyring_installed_the_file_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert _best(tmp_path).kind == "file"


def test_the_key_stays_where_it_was_put(tmp_path: Path, ring: MemoryRing, cheap: None) -> None:
    del cheap
    for kind, made in (
        ("file", FileKeyStore(tmp_path / "f")),
        ("passphrase", PassphraseKeyStore(tmp_path / "p", PHRASE)),
    ):
        Vault.open(made.path.with_name("keys.vault"), made)
        ring.asked = 0
        store = best_key_store(made.path.parent, PROFILE, passphrase=PHRASE)
        assert (store.kind, ring.asked) == (kind, 0)
        Vault.open(made.path.with_name("keys.vault"), store)
    with pytest.raises(UsageError, match="locked with a pass phrase"):
        _best(tmp_path / "p")


def test_a_key_store_of_the_os_that_is_out_of_reach_is_not_replaced(
    tmp_path: Path, ring: MemoryRing
) -> None:
    file = tmp_path / "keys.vault"
    Vault.open(file, _best(tmp_path)).change({"note": 1})
    ring.locked = True
    with pytest.raises(UsageError, match="does not answer") as refused:
        Vault.open(file, _best(tmp_path))
    assert "unlock" in refused.value.fix
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]
    with pytest.raises(UsageError, match="cannot be reached"):
        _best(tmp_path)
    keyring.set_keyring(ring)
    ring.locked = False
    assert Vault.open(file, _best(tmp_path)).value("note") == 1
    ring.entries = dict.fromkeys(ring.entries, "no key")
    with pytest.raises(IntegrityError, match="is no key"):
        Vault.open(file, _best(tmp_path))


@pytest.mark.parametrize("kind", ["os-keyring", "passphrase", "file"])
def test_a_profile_whose_vault_is_lost_can_be_begun_anew(
    tmp_path: Path, ring: MemoryRing, kind: str, cheap: None
) -> None:
    del cheap
    keyring.set_keyring(ring if kind == "os-keyring" else fail.Keyring())  # type: ignore[no-untyped-call]
    phrase = PHRASE if kind == "passphrase" else None
    file = tmp_path / "keys.vault"
    Vault.open(file, best_key_store(tmp_path, PROFILE, passphrase=phrase)).change({"note": 1})
    losses: list[Callable[[], object]] = [lambda: file.write_bytes(b"lost"), file.unlink]
    for lose in losses:
        lose()
        store = best_key_store(tmp_path, PROFILE, passphrase=phrase)
        assert store.kind == kind
        with pytest.raises(IntegrityError):
            Vault.open(file, store)
        forget_keys(tmp_path, PROFILE)
        forget_keys(tmp_path, PROFILE)
        assert (list(tmp_path.iterdir()), ring.entries) == ([], {})
        again = best_key_store(tmp_path, PROFILE, passphrase=phrase)
        assert Vault.open(file, again).names() == ()


def test_keyring_is_loaded_only_where_it_is_needed(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from homebody_client.keystores import best_key_store
from homebody_client.vault import Vault
folder = Path(sys.argv[1])
Vault.open(folder / "keys.vault", best_key_store(folder, "0" * 32))
print("keyring" in sys.modules)
"""
    FileKeyStore(tmp_path).write(KEY + bytes(32))  # as a first start that did not end
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_a_pass_phrase_is_stretched_as_rfc_9106_recommends(tmp_path: Path) -> None:
    store = PassphraseKeyStore(tmp_path, PHRASE)
    store.write(KEY)
    stored = store.path.read_bytes()
    kept = json.loads(stored)
    assert (kept["m"], kept["t"], kept["p"], len(kept["salt"])) == (64 * 1024, 3, 4, 32)
    assert KEY not in stored
    assert KEY.hex().encode() not in stored
    assert PassphraseKeyStore(tmp_path, PHRASE).read() == KEY


@pytest.mark.usefixtures("cheap")
def test_each_file_has_a_salt_and_each_write_a_nonce_of_its_own(tmp_path: Path) -> None:
    seen = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        store = PassphraseKeyStore(folder, PHRASE)
        for _ in range(3):
            store.write(KEY)
            kept = json.loads(store.path.read_bytes())
            seen.append((kept["salt"], kept["sealed"][:24]))
        store.erase()
        store.write(KEY)
        kept = json.loads(store.path.read_bytes())
        seen.append((kept["salt"], kept["sealed"][:24]))
    assert len({salt for salt, _ in seen}) == 4
    assert len({nonce for _, nonce in seen}) == 8


@pytest.mark.usefixtures("cheap")
def test_a_wrong_pass_phrase_is_a_typing_error_and_no_damage(tmp_path: Path) -> None:
    PassphraseKeyStore(tmp_path, "Zo\u00eb likes tea").write(KEY)
    assert PassphraseKeyStore(tmp_path, "Zoe\u0308 likes tea").read() == KEY  # the same letters
    for wrong in ("Zoe likes tea", "zo\u00eb likes tea", " ", "\ud800"):
        with pytest.raises(UsageError, match="the pass phrase does not open it") as refused:
            PassphraseKeyStore(tmp_path, wrong).read()
        assert wrong == " " or wrong not in f"{refused.value} {refused.value.fix}"
    with pytest.raises(UsageError, match="empty"):
        PassphraseKeyStore(tmp_path, "")


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("change", [{"m": 1 << 22}, {"t": 10**6}, {"v": 2}, {"p": 1}, {"x": 0}])
def test_a_file_cannot_choose_what_stretching_costs(tmp_path: Path, change: dict[str, int]) -> None:
    store = PassphraseKeyStore(tmp_path, PHRASE)
    store.write(KEY)
    store.path.write_text(json.dumps({**json.loads(store.path.read_bytes()), **change}))
    with pytest.raises(IntegrityError, match="does not hold the key"):
        PassphraseKeyStore(tmp_path, PHRASE).read()


@pytest.mark.usefixtures("cheap")
@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["kek.key", "kek.sealed", "keys.vault"]),
    where=st.integers(0, 2**16),
    piece=st.one_of(st.binary(min_size=1, max_size=20), st.just(b'{"m":1}'), st.just(b"[]")),
    cut=st.booleans(),
)
def test_damaged_files_of_keys_open_as_before_or_are_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, kind: str, where: int, piece: bytes, *, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    made: KeyStore
    made = FileKeyStore(folder) if kind == "kek.key" else PassphraseKeyStore(folder, PHRASE)
    vault = Vault.open(folder / "keys.vault", made)
    vault.change({"note": "P-4711"}, new_keys=["purpose:training"])
    content = bytearray((folder / kind).read_bytes())
    start = where % len(content)
    content[start : len(content) if cut else start + len(piece)] = piece
    (folder / kind).write_bytes(bytes(content))
    try:
        store = best_key_store(folder, PROFILE, passphrase=PHRASE)
        again = Vault.open(folder / "keys.vault", store)
    except (IntegrityError, UsageError) as error:
        told = f"{error} {error.fix}"
        assert kind in told or "keys.vault" in told
        assert not any(secret in told for secret in ("4711", PHRASE, "horse"))
    else:
        assert again.value("note") == "P-4711"
        assert again.key("purpose:training") == vault.key("purpose:training")


@pytest.mark.usefixtures("cheap")
def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    for store in (FileKeyStore(tmp_path), PassphraseKeyStore(tmp_path, PHRASE)):
        store.write(KEY)
        store.path.chmod(0o640)
        with pytest.raises(InvalidFileError, match="others") as refused:
            store.read()
        assert refused.value.fix == f"chmod 600 {store.path}"


def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused: list[HomebodyError] = []
    for attempt in (
        lambda: _best(tmp_path / "file"),
        lambda: FileKeyStore(tmp_path / "file").write(KEY),
        lambda: FileKeyStore(tmp_path / "missing").write(KEY),
        lambda: FileKeyStore(tmp_path / "file").read(),
    ):
        with pytest.raises(UsageError, match="cannot be read or written") as caught:
            attempt()
        refused.append(caught.value)
    assert all(str(tmp_path) in str(error) for error in refused)


def test_a_key_that_is_replaced_is_overwritten_first(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    store.write(KEY)
    with store.path.open("rb") as old:  # keeps the blocks of the old file in sight
        store.write(NEXT)
        assert old.read() == bytes(32)
    with store.path.open("rb") as old:
        store.erase()
        assert old.read() == bytes(32)
    assert list(tmp_path.iterdir()) == []


def _best(folder: Path) -> KeyStore:
    return best_key_store(folder, PROFILE)
