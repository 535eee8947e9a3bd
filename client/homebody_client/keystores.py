"""Where the key of a device's vault is kept: in the OS, or in a place that says it is weaker.

The key-encryption key (KEK) seals the vault of purpose keys (``homebody_client.vault``). A place
keeps one value of 32 bytes or, while the KEK is exchanged, of 64: the next key and the last one.
Who destroys a purpose key exchanges the KEK, so that an older copy of the vault opens nothing.

==========  ===================================  =============================================
kind        where the KEK is                     older copies of all files of the device open
==========  ===================================  =============================================
os-keyring  the key store of the OS              nothing
passphrase  file ``kek.sealed``, under Argon2id  what they held, to who has the pass phrase
file        file ``kek.key``, mode 0600          what they held, to anybody
==========  ===================================  =============================================
"""

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from homebody_privacy.errors import IntegrityError, UsageError

from .key_files import KEY_BYTES, FileKeyStore, PassphraseKeyStore, checked_key, from_hex, is_key
from .secret_files import make_folder, remove_secret

__all__ = [
    "KEY_BYTES",
    "VAULT_FILE",
    "FileKeyStore",
    "KeyStore",
    "KeyringStore",
    "PassphraseKeyStore",
    "Ring",
    "best_key_store",
    "forget_keys",
]

VAULT_FILE: Final = "keys.vault"
"""Name of the vault in the folder of its key store."""

_SERVICE: Final = "homebody"


class KeyStore(Protocol):
    """One place that keeps the KEK of one profile."""

    @property
    def kind(self) -> str:
        """Name the kind of place: ``os-keyring``, ``passphrase`` or ``file``."""

    @property
    def weaker(self) -> str:
        """Say to a person how it is weaker than the OS's key store; empty if it is not."""

    def read(self) -> bytes | None:
        """Return what was written last, 32 or 64 bytes; None if nothing was. Secret."""

    def write(self, key: bytes) -> None:
        """Replace what is kept; durable when the call returns."""

    def erase(self) -> None:
        """Forget the key; nothing happens if there is none."""


class Ring(Protocol):
    """What we use of a ``keyring.backend.KeyringBackend``."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return an entry; None if there is none."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Make or replace an entry."""

    def delete_password(self, service: str, username: str) -> None:
        """Remove an entry."""


class KeyringStore:
    """The key store of the operating system, through ``keyring``."""

    __slots__ = ("_profile", "_ring")

    kind: Final = "os-keyring"
    weaker: Final = ""

    def __init__(self, ring: Ring, profile_id: str) -> None:
        """Use the entry of one profile."""
        self._ring = ring
        self._profile = profile_id

    def read(self) -> bytes | None:
        """Return the key; None if there is none.

        Raises:
            UsageError: If the key store is locked or does not answer.
            IntegrityError: If what it keeps is no key.
        """
        kept = self._answer(lambda: self._ring.get_password(_SERVICE, self._profile))
        if kept is None:
            return None
        key = from_hex(kept)
        if not is_key(key):
            raise IntegrityError(
                "the entry of homebody in the key store of the operating system is no key",
                fix="bring the entry back; without it, what it opened is lost",
            )
        return key

    def write(self, key: bytes) -> None:
        """Replace the key.

        Raises:
            UsageError: If the key store is locked or does not answer.
        """
        text = checked_key(key).hex()
        self._answer(lambda: self._ring.set_password(_SERVICE, self._profile, text))

    def erase(self) -> None:
        """Remove the key.

        Raises:
            UsageError: If the key store is locked or does not answer.
        """
        if self._answer(lambda: self._ring.get_password(_SERVICE, self._profile)) is not None:
            self._answer(lambda: self._ring.delete_password(_SERVICE, self._profile))

    def _answer(self, ask: Callable[[], str | None]) -> str | None:
        try:
            return ask()
        except _ring_errors() as error:
            reason = type(error).__name__
        raise UsageError(  # outside: what a backend says may hold what it was given
            f"the key store of the operating system does not answer ({reason})",
            fix="unlock it, then start again",
        )


def best_key_store(folder: Path, profile_id: str, *, passphrase: str | None = None) -> KeyStore:
    """Choose where a profile's KEK is kept: at first the best place, later where it lies.

    Args:
        folder: Folder of the vault, made (mode 0700) at the first use.
        profile_id: Names the entry in the key store of the OS. Public.
        passphrase: Used where the OS has no key store. Secret.

    Raises:
        UsageError: If the KEK needs a pass phrase and none is given, or lies in a key store of the
            OS that cannot be reached now.
    """
    make_folder(folder)
    plain, sealed = FileKeyStore(folder), folder / "kek.sealed"
    if sealed.exists():
        if passphrase is None:
            raise UsageError(
                f"{sealed}: it is locked with a pass phrase", fix="give the pass phrase"
            )
        return PassphraseKeyStore(folder, passphrase)
    if plain.path.exists():
        return plain
    begun = (folder / VAULT_FILE).exists()
    ring = _os_ring()
    if ring is not None and (begun or _works(ring, profile_id)):
        return KeyringStore(ring, profile_id)
    if begun:
        raise UsageError(
            f"{folder}: the key of this profile is in the key store of the operating system, "
            "which cannot be reached",
            fix="install keyring and log in where that key store is unlocked",
        )
    return plain if passphrase is None else PassphraseKeyStore(folder, passphrase)


def forget_keys(folder: Path, profile_id: str) -> None:
    """Destroy a profile's KEK wherever it lies, and its vault: the next start is a first one.

    For a profile whose vault does not open any more; one that opens is destroyed by itself.

    Args:
        folder: Folder of the vault.
        profile_id: As for ``best_key_store``.

    Raises:
        UsageError: If a file cannot be removed, or the key store of the OS does not answer.
    """
    remove_secret(folder / "kek.key")
    remove_secret(folder / "kek.sealed")
    ring = _os_ring()
    if ring is not None:
        KeyringStore(ring, profile_id).erase()
    remove_secret(folder / VAULT_FILE)


def _ring_errors() -> tuple[type[Exception], ...]:
    """Return what backends raise: their own kind, and that of the services they talk to."""
    own: type[Exception] = importlib.import_module("keyring.errors").KeyringError
    return own, OSError, RuntimeError, ValueError


def _os_ring() -> Ring | None:
    """Return the backend of the OS; None if there is none that protects anything."""
    if importlib.util.find_spec("keyring") is None:
        return None
    ring = importlib.import_module("keyring").get_keyring()  # slow to load: only where needed
    for one in getattr(ring, "backends", None) or [ring]:  # a chainer tries several in turn
        module = type(one).__module__
        unsafe = module.startswith(("keyring.backends.fail", "keyring.backends.null", "keyrings."))
        with suppress(*_ring_errors()):
            if not unsafe and one.priority > 0:
                found: Ring = one
                return found
    return None


def _works(ring: Ring, profile_id: str) -> bool:
    """Say whether a backend keeps what it is given, before anything depends on it."""
    trial, key = KeyringStore(ring, f"{profile_id}-trial"), bytes(KEY_BYTES)
    try:
        trial.write(key)
        kept = trial.read() == key
        trial.erase()
    except (IntegrityError, UsageError):
        return False
    return kept
