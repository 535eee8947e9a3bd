"""The vault: a device's keys and the few facts that must not be forged, in one sealed file.

One file of AES-256-GCM under the key-encryption key (KEK) of a ``KeyStore``. Each change replaces
it whole, in one step, and is on disk when the call returns. It lies outside every backup of the
profile: that is how a profile put back from an older copy is noticed.

Destroying a key exchanges the KEK too, in an order that a crash cannot spoil:

=====================================  =============================  =======================
step                                   key store holds                vault is sealed under
=====================================  =============================  =======================
before                                 K                              K
1. announce the next KEK               K' and K                       K
2. replace the vault                   K' and K                       K'
3. forget the last KEK                 K'                             K'
=====================================  =============================  =======================

Whichever of the two opens the vault at the next start stays, alone. After step 3 an older copy
of the vault opens nothing, provided that the key store keeps no older state of its own.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homebody_privacy.errors import IntegrityError, UsageError

from .key_files import KEY_BYTES
from .keystores import KeyStore
from .secret_files import make_folder, read_file, remove_secret, replace_secret

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

_MAGIC: Final = b"homebody/vault/v1\0"
_NONCE_BYTES: Final = 12
_UNBORN: Final = bytes(KEY_BYTES)  # stands for the last KEK where there was no vault before
_NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})


class Vault:
    """Keys and values of one profile, by name. Made by ``open`` only.

    Names are public; keys and values are secret. One writer at a time.
    """

    __slots__ = (
        "_file",
        "_kek",
        "_keys",
        "_owed",
        "_random",
        "_store",
        "_stored",
        "_unsettled",
        "_values",
    )

    def __init__(self, file: Path, store: KeyStore, random: Callable[[int], bytes]) -> None:
        """Keep where the vault lies; its content is yet to be read."""
        self._file = file
        self._store = store
        self._random = random
        self._kek = b""
        self._stored = b""  # the file as we know it
        self._keys: dict[str, bytes] = {}
        self._values: dict[str, str] = {}
        self._owed = False  # whether keys were dropped that the file may still hold
        self._unsettled = False  # whether the last change failed midway

    @classmethod
    def open(
        cls, file: Path, keys: KeyStore, *, random: Callable[[int], bytes] = os.urandom
    ) -> Self:
        """Open a vault, made at the first use.

        Args:
            file: The vault; its folder is made (mode 0700) at the first use.
            keys: Keeps the KEK.
            random: Gives that many unpredictable bytes.

        Raises:
            IntegrityError: If the vault or its KEK is gone, or the one does not open the other.
            InvalidFileError: If others than the owner have rights to the KEK's file.
            UsageError: If the key store or the file cannot be used now.
        """
        vault = cls(file, keys, random)
        vault._settle()
        return vault

    def __repr__(self) -> str:
        """Show how much it holds, never what."""
        return f"Vault(keys={len(self._keys)}, values={len(self._values)})"

    @property
    def kind(self) -> str:
        """Kind of place where the KEK is kept."""
        return self._store.kind

    @property
    def weaker(self) -> str:
        """How that place is weaker than the key store of the OS; empty if it is not."""
        return self._store.weaker

    def key(self, name: str) -> bytes | None:
        """Return a key of 32 bytes; None if there is none of that name. Secret."""
        return self._keys.get(name)

    def value(self, name: str) -> Json:
        """Return a copy of a value; None if there is none of that name. Secret."""
        text = self._values.get(name)
        value: Json = None if text is None else json.loads(text)
        return value

    def names(self) -> tuple[str, ...]:
        """Return the names of all keys, then of all values, each sorted."""
        return (*sorted(self._keys), *sorted(self._values))

    def change(
        self,
        values: Mapping[str, Json] = _NOTHING,
        *,
        new_keys: Iterable[str] = (),
        drop_keys: Iterable[str] = (),
    ) -> None:
        """Change values and keys in one step: after a crash all of it holds, or nothing.

        A key that is dropped or replaced is gone from memory even if the call fails; the next
        change then finishes what this one began.

        Args:
            values: New values; None drops one.
            new_keys: Names that get 32 fresh random bytes.
            drop_keys: Names of keys to destroy; unknown ones are ignored.

        Raises:
            ValueError: If a value is not JSON; then nothing was changed.
            UsageError: If the key store or the file cannot be written, or another process
                changed the vault.
            IntegrityError: If the vault was damaged or removed since it was opened.
        """
        encoded = {name: _encoded(name, value) for name, value in values.items()}
        fresh = {name: self._random(KEY_BYTES) for name in new_keys}
        gone = {*drop_keys, *fresh} & set(self._keys)
        for name in gone:
            del self._keys[name]
        self._owed = self._owed or bool(gone)
        self._confirm()
        kept = {name: text for name, text in {**self._values, **encoded}.items() if text != "null"}
        self._unsettled = True
        self._write(_plain({**self._keys, **fresh}, kept))
        self._unsettled = self._owed = False
        self._keys |= fresh
        self._values = kept

    def destroy(self) -> None:
        """Destroy all keys, the vault and its KEK; the object is of no use afterwards.

        Raises:
            UsageError: If the key store or the file cannot be written.
        """
        self._keys, self._values = {}, {}
        self._store.write(self._random(KEY_BYTES) + _UNBORN)  # from here on nothing opens it
        remove_secret(self._file)
        self._store.erase()

    def _confirm(self) -> None:
        """Make sure that what is to be replaced is what we know.

        A file that another process changed is not written over: it may have lost keys since.
        """
        stored = read_file(self._file)
        if self._unsettled:
            self._kek, _ = self._opening(stored or b"", self._store.read() or b"")
        elif stored != self._stored:
            raise (
                self._broken()
                if stored is None
                else UsageError(f"{self._file}: another process changed it", fix="open it again")
            )

    def _write(self, plain: bytes) -> None:
        if not self._owed:
            self._put(plain, self._kek)
            return
        kek = self._random(KEY_BYTES)
        self._store.write(kek + self._kek)
        self._put(plain, kek)
        self._store.write(kek)
        self._kek = kek

    def _put(self, plain: bytes, kek: bytes) -> None:
        nonce = self._random(_NONCE_BYTES)
        stored = _MAGIC + nonce + AESGCM(kek).encrypt(nonce, plain, _MAGIC)
        replace_secret(self._file, stored)
        self._stored = stored

    def _settle(self) -> None:
        """Read the vault and finish or take back what a crash interrupted."""
        held, stored = self._store.read(), read_file(self._file)
        if stored is None:
            self._begin(held)
            return
        if held is None:
            raise IntegrityError(
                f"{self._file}: the key that opens it is gone from its key store",
                fix="bring the key store back; without it, what this vault opens is lost",
            )
        if held[KEY_BYTES:] == _UNBORN and _opened(stored, held[:KEY_BYTES]) is None:
            remove_secret(self._file)  # it was being destroyed
            self._begin(held)
            return
        self._kek, plain = self._opening(stored, held)
        self._take(plain)
        self._stored = stored
        if held != self._kek:
            self._store.write(self._kek)

    def _begin(self, held: bytes | None) -> None:
        """Make an empty vault, if there has been none."""
        if held is not None and held[KEY_BYTES:] != _UNBORN:
            raise IntegrityError(
                f"{self._file}: it is gone, while its key is still there",
                fix="bring the file back; without it, consent has to be asked again",
            )
        make_folder(self._file.parent)
        self._kek = self._random(KEY_BYTES)
        self._store.write(self._kek + _UNBORN)
        self._put(_plain({}, {}), self._kek)
        self._store.write(self._kek)

    def _opening(self, stored: bytes, held: bytes) -> tuple[bytes, bytes]:
        """Return the KEK that opens the vault, and what it holds."""
        for kek in (held[:KEY_BYTES], held[KEY_BYTES:]):
            plain = None if kek in (b"", _UNBORN) else _opened(stored, kek)
            if plain is not None:
                return kek, plain
        raise self._broken()

    def _take(self, plain: bytes) -> None:
        try:
            content = json.loads(plain)
            self._keys = {name: bytes.fromhex(key) for name, key in content["keys"].items()}
            self._values = {name: _encoded(name, v) for name, v in content["values"].items()}
            sound = all(len(key) == KEY_BYTES for key in self._keys.values())
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            sound = False
        if not sound:
            raise self._broken()

    def _broken(self) -> IntegrityError:
        return IntegrityError(
            f"{self._file}: it is damaged or gone, or an older copy was put back",
            fix="keep it and bring back the latest one; without it, consent has to be asked again",
        )


def _opened(stored: bytes, kek: bytes) -> bytes | None:
    """Return what a vault holds; None if this key does not open it."""
    body = stored[len(_MAGIC) :]
    if stored[: len(_MAGIC)] != _MAGIC or len(body) < _NONCE_BYTES:
        return None
    try:
        return AESGCM(kek).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], _MAGIC)
    except InvalidTag:
        return None


def _plain(keys: Mapping[str, bytes], values: Mapping[str, str]) -> bytes:
    content = {
        "keys": {name: key.hex() for name, key in keys.items()},
        "values": {name: json.loads(text) for name, text in values.items()},
    }
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def _encoded(name: str, value: Json) -> str:
    """Return a value as JSON text.

    Raises:
        ValueError: If it is not JSON. The words of ``json`` may hold the value: they are not kept.
    """
    with suppress(RecursionError, TypeError, ValueError):
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    raise ValueError(f"the value {name} is not JSON")
