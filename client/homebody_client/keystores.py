"""Where the key of a device's vault is kept: in the OS, or in a place that says it is weaker.

The key-encryption key (KEK) seals the vault of purpose keys (``homebody_client.vault``). A place
keeps one value of 32 bytes or, while the KEK is exchanged, of 64: the next key and the last one.
Who destroys a purpose key exchanges the KEK, so that an older copy of the vault opens nothing.

===========  ==================================  =============================================
kind         where the KEK is                    older copies of all files of the device open
===========  ==================================  =============================================
os-keyring   the key store of the OS             nothing
passphrase   file ``kek.sealed``, under Argon2id what they held, to who has the pass phrase
file         file ``kek.key``, mode 0600         what they held, to anybody
===========  ==================================  =============================================

Argon2id with the second set of parameters that RFC 9106, section 4, recommends (64 MiB for an
instant). A file that is replaced is overwritten first; flash disks and file systems that copy on
write may keep the old bytes all the same.
"""

import importlib.util
import json
import os
import secrets
import stat
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homebody_privacy.durable import sync_folder, write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError

KEY_BYTES: Final = 32
VAULT_FILE: Final = "keys.vault"
"""Name of the vault in the folder of its key store."""

_SERVICE: Final = "homebody"
_LABEL: Final = b"homebody/kek/v1"
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_MEMORY_KIB: Final = 65_536
_ITERATIONS: Final = 3
_LANES: Final = 4
_MOST_MEMORY_KIB: Final = 1 << 20  # a damaged file must not make us allocate more
_MOST_WORK: Final = 64

Bytes = Callable[[int], bytes]


class KeyStore(Protocol):
    """One place that keeps the KEK of one profile.

    Attributes:
        kind: ``os-keyring``, ``passphrase`` or ``file``.
        weaker: How it is weaker than the key store of the OS, one sentence for a person; empty
            if it is not.
    """

    @property
    def kind(self) -> str:
        """Name the kind of place."""

    @property
    def weaker(self) -> str:
        """Say how it is weaker."""

    def read(self) -> bytes | None:
        """Return what was written last, 32 or 64 bytes; None if nothing was. Secret."""

    def write(self, key: bytes) -> None:
        """Replace what is kept; durable when the call returns."""

    def erase(self) -> None:
        """Forget the key; nothing happens if there is none."""


class KeyringStore:
    """The key store of the operating system, through ``keyring``."""

    __slots__ = ("_profile", "_ring")

    kind: Final = "os-keyring"
    weaker: Final = ""

    def __init__(self, ring: Any, profile_id: str) -> None:  # noqa: ANN401 - keyring is optional
        """Use the entry of one profile in a ``keyring.backend.KeyringBackend``."""
        self._ring = ring
        self._profile = profile_id

    def read(self) -> bytes | None:
        """Return the key; None if there is none.

        Raises:
            UsageError: If the key store is locked or does not answer.
            IntegrityError: If what it keeps is no key.
        """
        kept = self._call("get_password")
        if kept is None:
            return None
        try:
            return _checked(bytes.fromhex(kept))
        except (TypeError, ValueError):
            what = "the entry of homebody in the key store of the operating system is no key"
        raise IntegrityError(what, fix="remove the entry; what it opened is lost")

    def write(self, key: bytes) -> None:
        """Replace the key.

        Raises:
            UsageError: If the key store is locked or does not answer.
        """
        self._call("set_password", _checked(key).hex())

    def erase(self) -> None:
        """Remove the key.

        Raises:
            UsageError: If the key store is locked or does not answer.
        """
        if self._call("get_password") is not None:
            self._call("delete_password")

    def _call(self, verb: str, *values: str) -> Any:  # noqa: ANN401 - keyring is optional
        try:
            return getattr(self._ring, verb)(_SERVICE, self._profile, *values)
        except _ring_errors() as error:
            reason = type(error).__name__  # its text may hold what a backend likes to say
        raise UsageError(
            f"the key store of the operating system does not answer ({reason})",
            fix="unlock it, then start again",
        )


class FileKeyStore:
    """The KEK in a file that only its owner may read."""

    __slots__ = ("path",)

    kind: Final = "file"
    weaker: Final = (
        "The key lies in a file beside what it opens, so whoever copies both can open it, and old "
        "copies of both (a backup, say) still open what was erased since; the key store of the "
        "operating system or a pass phrase is stronger."
    )

    def __init__(self, folder: Path) -> None:
        """Use ``kek.key`` in a folder."""
        self.path = folder / "kek.key"

    def read(self) -> bytes | None:
        """Return the key; None if there is none.

        Raises:
            InvalidFileError: If others than the owner have rights to the file.
            IntegrityError: If it holds no key.
        """
        key = _read(self.path)
        if key is None:
            return None
        try:
            return _checked(key)
        except ValueError as error:
            raise _broken(self.path) from error

    def write(self, key: bytes) -> None:
        """Replace the key.

        Raises:
            UsageError: If the file cannot be written.
        """
        replace_secret(self.path, _checked(key))

    def erase(self) -> None:
        """Overwrite the key and remove it.

        Raises:
            UsageError: If the file cannot be removed.
        """
        remove_secret(self.path)


class PassphraseKeyStore:
    """The KEK in a file, sealed under a key that Argon2id makes of a pass phrase.

    The sealing key is made once and kept in memory with the salt it belongs to: closing a purpose
    must not wait for Argon2id. Another file gets another salt.
    """

    __slots__ = ("_passphrase", "_random", "_sealing", "path")

    kind: Final = "passphrase"
    weaker: Final = (
        "The key lies in a file under a pass phrase, so whoever copies the files can try pass "
        "phrases as long as they like, and old copies still open, with the pass phrase, what was "
        "erased since; the key store of the operating system is stronger."
    )

    def __init__(
        self, folder: Path, passphrase: str, *, random: Bytes = secrets.token_bytes
    ) -> None:
        """Use ``kek.sealed`` in a folder.

        Raises:
            UsageError: If the pass phrase is empty.
        """
        if not passphrase:
            raise UsageError("the pass phrase is empty", fix="give a pass phrase")
        normal = unicodedata.normalize("NFC", passphrase)  # as OpaqueString of RFC 8265
        self.path = folder / "kek.sealed"
        self._passphrase = normal.encode("utf-8", "surrogatepass")
        self._random = random
        self._sealing: tuple[dict[str, Any], bytes] | None = None

    def read(self) -> bytes | None:
        """Return the key; None if there is none.

        Raises:
            UsageError: If the pass phrase does not open it.
            InvalidFileError: If others than the owner have rights to the file.
            IntegrityError: If the file is damaged.
        """
        stored = _read(self.path)
        if stored is None:
            return None
        how, sealed = _parsed(self.path, stored)
        try:
            body = AESGCM(self._made(how))
            key = body.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(how))
        except InvalidTag:
            key = b""
        if not key:
            self._sealing = None
            raise UsageError(
                f"{self.path}: the pass phrase does not open it", fix="enter the pass phrase again"
            )
        try:
            return _checked(key)
        except ValueError as error:
            raise _broken(self.path) from error

    def write(self, key: bytes) -> None:
        """Replace the key.

        Raises:
            UsageError: If the file cannot be written.
        """
        if self._sealing is None or not self.path.exists():
            salt = self._random(_SALT_BYTES).hex()
            how = {"m": _MEMORY_KIB, "p": _LANES, "salt": salt, "t": _ITERATIONS, "v": 1}
        else:
            how, _ = self._sealing
        nonce = self._random(_NONCE_BYTES)
        sealed = nonce + AESGCM(self._made(how)).encrypt(nonce, _checked(key), _bound(how))
        replace_secret(self.path, json.dumps({**how, "sealed": sealed.hex()}).encode())

    def erase(self) -> None:
        """Overwrite the file and remove it.

        Raises:
            UsageError: If the file cannot be removed.
        """
        remove_secret(self.path)

    def _made(self, how: dict[str, Any]) -> bytes:
        """Return the sealing key, made of the pass phrase where it is not in memory."""
        if self._sealing is None or self._sealing[0] != how:
            from cryptography.hazmat.primitives.kdf.argon2 import (  # noqa: PLC0415 - rarely used
                Argon2id,
            )

            derive = Argon2id(
                salt=bytes.fromhex(how["salt"]),
                length=KEY_BYTES,
                iterations=how["t"],
                lanes=how["p"],
                memory_cost=how["m"],
            )
            self._sealing = how, derive.derive(self._passphrase)
        return self._sealing[1]


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
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
            f"{folder}: its key is not here, and the key store of the operating system cannot be "
            "reached",
            fix="log in where that key store is unlocked, with keyring installed",
        )
    return plain if passphrase is None else PassphraseKeyStore(folder, passphrase)


def replace_secret(path: Path, content: bytes) -> None:
    """Replace a file of secrets, mode 0600, durably; what it held before is overwritten.

    Raises:
        UsageError: If the file cannot be written.
    """
    try:
        old = os.open(path, os.O_WRONLY)
    except OSError:
        old = None
    try:
        write_durably(path, content, mode=0o600)
        if old is not None:
            _overwrite(old)
    except OSError as error:
        raise UsageError(
            f"{path}: it cannot be written ({error.strerror})",
            fix="make room on the disk and give this account the right to write there",
        ) from error
    finally:
        if old is not None:
            os.close(old)


def remove_secret(path: Path) -> None:
    """Overwrite and remove a file of secrets and what a crash may have left beside it.

    Raises:
        UsageError: If a file cannot be removed.
    """
    try:
        for file in (path, path.with_name(f".{path.name}.new")):
            if file.exists():
                descriptor = os.open(file, os.O_WRONLY)
                try:
                    _overwrite(descriptor)
                finally:
                    os.close(descriptor)
                file.unlink()
        if path.parent.exists():
            sync_folder(path.parent)
    except OSError as error:
        raise UsageError(
            f"{path}: it cannot be removed ({error.strerror})",
            fix="give this account the right to write there",
        ) from error


def _overwrite(descriptor: int) -> None:
    os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
    os.fsync(descriptor)


def _read(path: Path) -> bytes | None:
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(
            f"{path}: it cannot be read ({error.strerror})",
            fix="give this account the right to read it",
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise InvalidFileError(
            f"{path}: others than the owner have rights to this key", fix=f"chmod 600 {path}"
        )
    return content


def _checked(key: bytes) -> bytes:
    if len(key) not in (KEY_BYTES, 2 * KEY_BYTES):
        raise ValueError(f"a key store keeps one or two keys of {KEY_BYTES} bytes")
    return key


def _parsed(path: Path, stored: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        fields = json.loads(stored)
        sealed = bytes.fromhex(fields.pop("sealed"))
        salt = bytes.fromhex(fields["salt"])
        numbers = [fields[name] for name in ("m", "p", "t", "v")]
        known = set(fields) == {"m", "p", "salt", "t", "v"} and fields["v"] == 1
        sound = all(type(number) is int and number > 0 for number in numbers)
        cheap = fields["m"] <= _MOST_MEMORY_KIB and max(fields["p"], fields["t"]) <= _MOST_WORK
        enough = fields["m"] >= 8 * fields["p"] and len(salt) == _SALT_BYTES
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        known = sound = cheap = enough = False
        fields, sealed = {}, b""
    if not (known and sound and cheap and enough and len(sealed) > _NONCE_BYTES):
        raise _broken(path)
    return fields, sealed


def _bound(how: dict[str, Any]) -> bytes:
    return _LABEL + json.dumps(how, sort_keys=True).encode()


def _broken(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: it does not hold the key that was written",
        fix="bring the file back as it was last; without it, what the key opened is lost",
    )


def _ring_errors() -> tuple[type[Exception], ...]:
    from keyring.errors import KeyringError  # noqa: PLC0415 - optional

    return KeyringError, OSError, RuntimeError, ValueError


def _os_ring() -> Any:  # noqa: ANN401 - keyring is optional
    """Return the backend of the OS; None if there is none that protects anything."""
    if importlib.util.find_spec("keyring") is None:
        return None
    import keyring  # noqa: PLC0415 - optional, and slow to load

    ring = keyring.get_keyring()
    for one in getattr(ring, "backends", None) or [ring]:  # a chainer tries several in turn
        module = type(one).__module__
        unsafe = module.startswith(("keyring.backends.fail", "keyring.backends.null", "keyrings."))
        with suppress(*_ring_errors()):
            if not unsafe and one.priority > 0:
                return one
    return None


def _works(ring: Any, profile_id: str) -> bool:  # noqa: ANN401 - keyring is optional
    """Say whether a backend keeps what it is given: a locked one is found out before it is used."""
    trial, key = KeyringStore(ring, f"{profile_id}-trial"), bytes(KEY_BYTES)
    try:
        trial.write(key)
        kept = trial.read() == key
        trial.erase()
    except (IntegrityError, UsageError):
        return False
    return kept
