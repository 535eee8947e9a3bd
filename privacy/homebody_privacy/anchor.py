"""Notice that a record was deleted, cut or put back: how far it had come is kept elsewhere.

A hash chain shows any change but the loss of its end: a shorter chain is a valid chain, and no
file at all looks like a first start. An anchor is the missing piece, the size and the last hash of
each protected record, in a folder of its own that no backup of the record covers and that nothing
but this module writes.

The order of writes is fixed. First ``advance(name, START)`` announces a record that is about to
be made. Then, for each entry: the record is written and synced, and only then the anchor. A crash
between the two leaves the record ahead of its anchor; that is accepted, and the anchor is brought
forward. A record behind its anchor was cut or put back, and is refused.

=====================================================  ====================================
what happened to the record or to its anchor           what ``check`` does
=====================================================  ====================================
nothing; or a crash before the anchor was written      passes
record deleted, cut, restored from an older copy       raises
an entry before the anchor exchanged                   raises
anchors deleted, while the record says it has one      raises (``anchored=True``)
anchors alone restored from an older copy              passes, and is brought forward
anchors and record restored together, or both deleted  **passes**: nothing here can tell
=====================================================  ====================================

The last line is the limit of what one machine can notice. Past it help only other machines that
have seen a later state. The tag over the anchors (HMAC, RFC 2104) finds damage and careless
edits; who may read the folder may read its key and forge the tag.
"""

import hashlib
import hmac
import json
import stat
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import rfc8785

from .durable import locked, sync_folder, write_durably
from .errors import IntegrityError, InvalidFileError
from .stream import KEY_BYTES, fresh_key

_SCHEMA: Final = "anchors/1"
_LABEL: Final = b"homebody/anchors/v1\0"
_MARKS: Final = "anchors.json"
_KEY: Final = "anchors.key"
_LOCK: Final = "anchors.lock"
_NO_HEAD: Final = "0" * 64
_LONGEST_NAME: Final = 8192  # room for a path
_MOST: Final = 2**53 - 1  # the largest integer of canonical JSON


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a record had come. Public.

    Attributes:
        size: Entries, from 0 to 2**53 - 1.
        head: Hash of the last entry, 64 hex digits in lower case; zeros if and only if there is
            no entry.
    """

    size: int
    head: str

    def __post_init__(self) -> None:
        """Refuse what no record can have."""
        if type(self.size) is not int or not 0 <= self.size <= _MOST:
            raise ValueError("size must be an integer from 0 to 2**53 - 1")
        digits = isinstance(self.head, str) and set(self.head) <= set("0123456789abcdef")
        if not digits or len(self.head) != len(_NO_HEAD):
            raise ValueError("head must be 64 hex digits in lower case")
        if (self.size == 0) != (self.head == _NO_HEAD):
            raise ValueError("a record without entries, and no other, has a head of zeros")


START: Final = Mark(size=0, head=_NO_HEAD)
"""Mark of a record that is about to be made."""


@dataclass(frozen=True, slots=True)
class AnchorBook:
    """The marks of one folder; several processes may use it at once. Made by ``open``.

    Nothing is cached: every call reads what the last writer left, under its tag.

    Attributes:
        folder: Where the marks are kept. Nothing they protect may lie in it, and no backup that
            covers one may cover the other.
        key: Key of the tag. Secret; not shown by ``repr``.
    """

    folder: Path
    key: bytes = field(repr=False)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the anchors of a folder, made (mode 0700, files 0600) at the first use.

        Raises:
            IntegrityError: If a part of the anchors is missing or not what was written.
            InvalidFileError: If group or others have any right to the key.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            if not (folder / _KEY).exists() and _has_no_mark(folder / _MARKS):
                _make(folder)
            book = cls(folder, _read_key(folder / _KEY))
            book._read()
        return book

    def mark(self, name: str) -> Mark | None:
        """Return the mark of a record; None if it was never anchored here.

        Raises:
            IntegrityError: If the anchors are missing or not what was written.
        """
        return self._read().get(name)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin with ``prefix``, sorted.

        A caller that looks for records by file finds here those whose file is gone.

        Raises:
            IntegrityError: If the anchors are missing or not what was written.
        """
        return sorted(name for name in self._read() if name.startswith(prefix))

    def advance(self, name: str, mark: Mark) -> None:
        """Move a record's mark forward; synced to disk before the call returns.

        The same mark again changes nothing. A mark is never taken away.

        Args:
            name: Name of the record, 1 to 8192 printable characters. Public.
            mark: Where the record stands, itself synced before.

        Raises:
            ValueError: If ``name`` is no such name.
            IntegrityError: If ``mark`` is behind the one kept or, at the same size, has another
                head; or if the anchors are missing or not what was written.
        """
        if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
            raise ValueError(f"a name has 1 to {_LONGEST_NAME} printable characters")
        with _locked(self.folder):
            marks = self._read()
            kept = marks.get(name, START)
            if mark.size < kept.size or (mark.size == kept.size and mark.head != kept.head):
                raise IntegrityError(
                    f"{self.folder}: the anchor of {name} does not go back",
                    fix="do not use the record it protects; keep both for inspection",
                )
            if marks.get(name) != mark:
                _write(self.folder, {**marks, name: mark}, self.key)

    def _read(self) -> dict[str, Mark]:
        path = self.folder / _MARKS
        try:
            stored = path.read_bytes()
        except FileNotFoundError as error:
            raise _broken(path, "it is missing") from error
        try:
            body = json.loads(stored)["body"]
            marks = {name: Mark(**values) for name, values in body["marks"].items()}
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise _broken(path, "it cannot be read") from error
        if not hmac.compare_digest(stored, _encoded(marks, self.key)):
            raise _broken(path, "its tag does not fit")
        return marks


def check(
    mark: Mark | None,
    heads: Callable[[int], str | None],
    size: int,
    what: str,
    *,
    anchored: bool = False,
) -> None:
    """Refuse a record that was deleted, cut, put back or rewritten since its anchor.

    Args:
        mark: What the anchors say of it; None if they do not know it.
        heads: Gives the hash of the record's ``i``-th entry, from 1; None if there is none. It
            must follow from the entries themselves: verify the chain first.
        size: Entries of the record now; 0 if there is no record.
        what: Name of the record in the message, such as its path. Public.
        anchored: The record itself says that it has an anchor.

    Raises:
        IntegrityError: As the table of this module says.

    Examples:
        >>> kept = Mark(size=2, head="b" * 64)
        >>> heads = {1: "a" * 64, 2: "b" * 64, 3: "c" * 64}
        >>> check(kept, heads.get, 3, "ledger")
        >>> check(kept, heads.get, 0, "ledger")
        Traceback (most recent call last):
        homebody_privacy.errors.IntegrityError: ledger: it was deleted
    """
    if mark is None:
        if anchored:
            raise IntegrityError(
                f"{what}: its anchor is gone: whether entries were removed cannot be told",
                fix="do not use it; bring back the folder of the anchors",
            )
        return
    if size < mark.size:
        raise IntegrityError(
            f"{what}: it was deleted"
            if size == 0
            else f"{what}: entries at its end were removed, or an older copy was put back",
            fix="keep what is there and bring back the latest copy",
        )
    if mark.size > 0 and heads(mark.size) != mark.head:
        raise IntegrityError(f"{what}: entries before its anchor were rewritten")


def _locked(folder: Path) -> AbstractContextManager[None]:
    return locked(folder / _LOCK)


def _make(folder: Path) -> None:
    """Write the first marks, then the key.

    A crash between the two leaves anchors without a key and without a mark, which are made again.
    The other order would leave a key without anchors, which is what a deletion leaves.
    """
    key = fresh_key()
    _write(folder, {}, key)
    write_durably(folder / _KEY, key, mode=0o600)
    sync_folder(folder.parent)


def _has_no_mark(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        return bool(json.loads(path.read_bytes())["body"]["marks"] == {})
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _read_key(path: Path) -> bytes:
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError as error:
        raise _broken(path, "it is missing") from error
    if stat.S_IMODE(mode) & 0o077:
        raise InvalidFileError(
            f"{path}: others than the owner have rights to this key", fix=f"chmod 600 {path}"
        )
    if len(key) != KEY_BYTES:
        raise _broken(path, f"a key has {KEY_BYTES} bytes")
    return key


def _encoded(marks: Mapping[str, Mark], key: bytes) -> bytes:
    shown = {name: {"head": mark.head, "size": mark.size} for name, mark in marks.items()}
    body: dict[str, Any] = {"marks": shown, "schema": _SCHEMA}
    tag = hmac.new(key, _LABEL + rfc8785.dumps(body), hashlib.sha256).hexdigest()
    whole: dict[str, Any] = {"body": body, "tag": tag}
    return rfc8785.dumps(whole)


def _write(folder: Path, marks: Mapping[str, Mark], key: bytes) -> None:
    write_durably(folder / _MARKS, _encoded(marks, key), mode=0o600)


def _broken(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: the anchors are not what was written: {why}",
        fix="do not use what they protect; bring the folder back as it was last",
    )
