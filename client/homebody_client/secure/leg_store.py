"""Where a node keeps the legs of its sessions: encrypted, on disk before a reply is handed over.

A SuperNode starts one process a message, so whatever a session needs next time lies here: one
SQLite file of small values. Each value is sealed with AES-256-GCM under a key that follows from
the node's identity, and its name is a keyed hash: the file says neither which runs a node took
part in nor what it answered. A value that goes is overwritten (``secure_delete``); on flash memory
and on file systems that copy on write the old bytes may stay all the same.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homebody_privacy.durable import locked
from homebody_privacy.errors import IntegrityError, UsageError
from homebody_privacy.stream import derive_key

Labels = tuple[str | int, ...]
"""Name of a value; the first label is the run it belongs to."""

_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_PATIENCE_S: Final = 30.0
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY})
_TABLE: Final = "CREATE TABLE IF NOT EXISTS legs (name BLOB PRIMARY KEY, run BLOB, body BLOB)"


class LegStore:
    """Sealed values of one node; made by ``open`` or ``in_memory``.

    Guarantees:
        What ``put`` was given is there after a crash, all of it or nothing of it.
    """

    __slots__ = ("_cipher", "_db", "_naming", "_path")

    def __init__(self, db: sqlite3.Connection, key: bytes, path: Path | None) -> None:
        """Keep an open database; ``key`` is 32 bytes of the node's own. Secret."""
        self._db = db
        self._path = path
        self._cipher = AESGCM(derive_key(key, "homebody/legs/seal/v1"))
        self._naming = derive_key(key, "homebody/legs/name/v1")

    @classmethod
    def open(cls, path: Path, key: bytes) -> Self:
        """Open the file of a node, made at the first use with rights 0600.

        Args:
            path: The file; its folder must be there.
            key: 32 bytes that follow from the node's identity. Secret.

        Raises:
            UsageError: If it cannot be opened.
            IntegrityError: If it is damaged or another file.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
        return cls(db, key, path)

    @classmethod
    def in_memory(cls, key: bytes, db: sqlite3.Connection | None = None) -> Self:
        """Keep values in this process alone, as a simulated node may.

        Args:
            key: 32 bytes that follow from the node's identity. Secret.
            db: Database of ``shared_memory``, where many nodes use one.
        """
        return cls(shared_memory() if db is None else db, key, None)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process of this node out while a message is answered."""
        lock = self._path and self._path.with_name(f"{self._path.name}.lock")
        with nullcontext() if lock is None else locked(lock):
            yield

    def get(self, *labels: str | int) -> bytes | None:
        """Return a value; None if there is none. Secret.

        Raises:
            IntegrityError: If it is not what was written.
        """
        name = self._name(labels)
        with _translated(self._path):
            row = self._db.execute("SELECT body FROM legs WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        try:
            return self._cipher.decrypt(row[0][:_NONCE_BYTES], row[0][_NONCE_BYTES:], name)
        except InvalidTag as error:
            raise IntegrityError(f"{self._where}: a value is not what this node wrote") from error

    def put(self, values: Mapping[Labels, bytes | None], *, forget: str | None = None) -> None:
        """Keep values in one step; None removes one.

        Args:
            values: By name.
            forget: Run of which every other value goes, in the same step.
        """
        with _translated(self._path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                if forget is not None:
                    self._db.execute("DELETE FROM legs WHERE run = ?", (self._family(forget),))
                for labels, value in values.items():
                    self._write(labels, value)
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _write(self, labels: Labels, value: bytes | None) -> None:
        name = self._name(labels)
        if value is None:
            self._db.execute("DELETE FROM legs WHERE name = ?", (name,))
            return
        nonce = os.urandom(_NONCE_BYTES)
        body = nonce + self._cipher.encrypt(nonce, value, name)
        row = (name, self._family(labels[0]), body)
        self._db.execute("INSERT OR REPLACE INTO legs VALUES (?, ?, ?)", row)

    def _name(self, labels: Labels) -> bytes:
        parts = [str(label).encode() for label in labels]
        return digest(self._naming, b"".join(sha256(part).digest() for part in parts), "sha256")

    def _family(self, run: str | int) -> bytes:
        return digest(self._naming, b"run\0" + str(run).encode(), "sha256")

    @property
    def _where(self) -> str:
        return "the node's state" if self._path is None else str(self._path)


def shared_memory() -> sqlite3.Connection:
    """Return a database of this process that the stores of many nodes can share."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(db, None)
    return db


def _prepare(db: sqlite3.Connection, path: Path | None) -> None:
    with _translated(path):
        # No write-ahead log: it would keep old pages, wiped keys among them.
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA secure_delete = ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise IntegrityError(f"{path}: it is not the state of a node")
        db.execute(_TABLE)
        db.execute(f"PRAGMA user_version = {_VERSION}")


@contextmanager
def _translated(path: Path | None) -> Iterator[None]:
    """Give SQLite's errors that a person can act on a class of their own."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            raise UsageError(
                f"{path}: another process keeps it locked", fix="wait until that process has ended"
            ) from error
        if code in _FULL:
            raise UsageError(
                f"{path}: it cannot be written", fix="make room on the disk of the node"
            ) from error
        raise IntegrityError(f"{path}: it is damaged or not the state of a node") from error
