"""Keys in files: one in the clear for its owner alone, one sealed under a pass phrase.

Argon2id (RFC 9106) with the second set of parameters that its section 4 recommends: 64 MiB and
some tenths of a second, once at each start.
"""

import importlib
import json
import os
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homebody_privacy.errors import IntegrityError, UsageError

from .secret_files import read_secret, remove_secret, replace_secret

KEY_BYTES: Final = 32
_LABEL: Final = b"homebody/kek/v1\0"
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_PARAMETERS: Final = {"m": 65_536, "p": 4, "t": 3, "v": 1}  # KiB, lanes, passes, version


def is_key(key: bytes) -> bool:
    """Say whether this is a key, or the next and the last one."""
    return len(key) in (KEY_BYTES, 2 * KEY_BYTES)


def checked_key(key: bytes) -> bytes:
    """Return what a key store may keep.

    Raises:
        ValueError: If it is neither one key nor two.
    """
    if not is_key(key):
        raise ValueError(f"a key store keeps one or two keys of {KEY_BYTES} bytes")
    return key


def from_hex(text: object) -> bytes:
    """Return the bytes a text stands for; none if it stands for nothing."""
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        return b""


class FileKeyStore:
    """The KEK in a file that only its owner may read."""

    __slots__ = ("path",)

    kind: Final = "file"
    weaker: Final = (
        "The key lies in a file beside what it opens: whoever copies both can open it, and old "
        "copies of both, such as a backup, still open what was erased since; the key store of the "
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
            UsageError: If the file cannot be read.
        """
        key = read_secret(self.path)
        if key is not None and not is_key(key):
            raise _broken(self.path)
        return key

    def write(self, key: bytes) -> None:
        """Replace the key.

        Raises:
            UsageError: If the file cannot be written.
        """
        replace_secret(self.path, checked_key(key))

    def erase(self) -> None:
        """Overwrite the key and remove it.

        Raises:
            UsageError: If the file cannot be removed.
        """
        remove_secret(self.path)


class PassphraseKeyStore:
    """The KEK in a file, sealed under a key that Argon2id makes of a pass phrase.

    The sealing key is made once and kept in memory with its salt: closing a purpose writes the
    file twice, and must not wait for Argon2id. Each new file gets a salt of its own, each write
    a nonce of its own.

    Args:
        folder: Folder of the file ``kek.sealed``.
        passphrase: Secret.
        random: Gives that many unpredictable bytes.

    Raises:
        UsageError: If the pass phrase is empty.
    """

    __slots__ = ("_passphrase", "_random", "_sealing", "path")

    kind: Final = "passphrase"
    weaker: Final = (
        "The key lies in a file under a pass phrase: whoever copies the files can try pass phrases "
        "as long as they like, and old copies still open, with the pass phrase, what was erased "
        "since; the key store of the operating system is stronger."
    )

    def __init__(
        self,
        folder: Path,
        passphrase: str,
        *,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Keep the pass phrase; nothing is derived yet."""
        if not passphrase:
            raise UsageError("the pass phrase is empty", fix="give a pass phrase")
        normal = unicodedata.normalize("NFC", passphrase)  # as OpaqueString, RFC 8265
        self.path = folder / "kek.sealed"
        self._passphrase = normal.encode("utf-8", "surrogatepass")
        self._random = random
        self._sealing: tuple[Mapping[str, Any], bytes] | None = None

    def read(self) -> bytes | None:
        """Return the key; None if there is none.

        Raises:
            UsageError: If the pass phrase does not open the file, or it cannot be read.
            InvalidFileError: If others than the owner have rights to the file.
            IntegrityError: If it is no such file.
        """
        stored = read_secret(self.path)
        if stored is None:
            return None
        how, sealed = _parsed(self.path, stored)
        sealing_key = self._derived(how)
        try:
            nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            key = AESGCM(sealing_key).decrypt(nonce, body, _bound(how))
        except InvalidTag as error:
            raise UsageError(
                f"{self.path}: the pass phrase does not open it", fix="enter the pass phrase again"
            ) from error
        if not is_key(key):
            raise _broken(self.path)
        self._sealing = how, sealing_key
        return key

    def write(self, key: bytes) -> None:
        """Replace the key.

        Raises:
            UsageError: If the file cannot be written.
        """
        checked_key(key)
        if self._sealing is None:
            how = {**_PARAMETERS, "salt": self._random(_SALT_BYTES).hex()}
            self._sealing = how, self._derived(how)
        how_made, sealing_key = self._sealing
        nonce = self._random(_NONCE_BYTES)
        sealed = nonce + AESGCM(sealing_key).encrypt(nonce, key, _bound(how_made))
        replace_secret(self.path, json.dumps({**how_made, "sealed": sealed.hex()}).encode())

    def erase(self) -> None:
        """Overwrite the file and remove it.

        Raises:
            UsageError: If the file cannot be removed.
        """
        self._sealing = None
        remove_secret(self.path)

    def _derived(self, how: Mapping[str, Any]) -> bytes:
        if self._sealing is not None and self._sealing[0] == how:
            return self._sealing[1]
        argon2 = importlib.import_module("cryptography.hazmat.primitives.kdf.argon2")
        made: bytes = argon2.Argon2id(
            salt=bytes.fromhex(how["salt"]),
            length=KEY_BYTES,
            iterations=how["t"],
            lanes=how["p"],
            memory_cost=how["m"],
        ).derive(self._passphrase)
        return made


def _parsed(path: Path, stored: bytes) -> tuple[Mapping[str, Any], bytes]:
    """Return the parameters and the salt of a sealed key, and what is sealed.

    Parameters we do not use are refused: a damaged file must not make us derive for hours.
    """
    try:
        how = json.loads(stored)
        sealed, salt = from_hex(how.pop("sealed")), how["salt"]
        sound = how == {**_PARAMETERS, "salt": salt} and len(from_hex(salt)) == _SALT_BYTES
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        how, sealed, sound = {}, b"", False
    if not sound or len(sealed) <= _NONCE_BYTES:
        raise _broken(path)
    return how, sealed


def _bound(how: Mapping[str, Any]) -> bytes:
    return _LABEL + json.dumps(how, sort_keys=True).encode()


def _broken(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: it does not hold the key that was written",
        fix="bring the file back as it was last; without it, what the key opened is lost",
    )
