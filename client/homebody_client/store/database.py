"""The file of the store: tables, transactions, and SQLite's errors in our words.

A rollback journal, not a write-ahead log: the store is one file, no older page lies beside it
once a transaction has ended, and a gate that is shut leaves its bytes as they were. Deleted
content is overwritten with zeros. A commit is on disk when the call returns.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, Self

from homebody_privacy.errors import IntegrityError, UsageError

_VERSION: Final = 1
_APPLICATION: Final = 0x686F6D65
_PATIENCE_S: Final = 10.0  # others hold the lock for milliseconds
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNUSABLE: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_TABLES: Final = (
    """CREATE TABLE rows (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, feature TEXT NOT NULL, tag BLOB NOT NULL,
        body BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX rows_once ON rows (tag)",
    "CREATE INDEX rows_of ON rows (feature)",
    """CREATE TABLE wraps (
        feature TEXT NOT NULL, purpose TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (feature, purpose)
    ) WITHOUT ROWID""",
    """CREATE TABLE derived (
        name TEXT PRIMARY KEY, pairs TEXT NOT NULL, body BLOB NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE outgoing (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL)",
)
_Kind = Literal["DEFERRED", "IMMEDIATE"]


class Database:
    """One open SQLite file with the tables of the store. Made by ``open`` only."""

    __slots__ = ("_db", "path")

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        """Keep an open connection whose tables are yet to be looked at."""
        self.path = path
        self._db = db

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file, made (mode 0600) at the first use.

        Raises:
            IntegrityError: If it is damaged or no store.
            UsageError: If it cannot be used, or another process keeps it locked.
        """
        with _translated(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.fchmod(descriptor, 0o600)
            os.close(descriptor)
            db = sqlite3.connect(
                path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
            )
        database = cls(path, db)
        try:
            database._prepare()
        except BaseException:
            db.close()
            raise
        return database

    def close(self) -> None:
        """Close the file; nothing happens if it is closed already."""
        self._db.close()

    def bytes_on_disk(self) -> int:
        """Return the bytes of the file and of its journal."""
        files = (self.path, self.path.with_name(f"{self.path.name}-journal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def read(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """Return all rows a statement selects.

        Raises:
            IntegrityError: If the file is damaged.
            UsageError: If it cannot be read, is locked or closed.
        """
        with _translated(self.path):
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self, kind: _Kind = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Keep what was written if the block ends well, durably; nothing of it otherwise.

        Raises:
            IntegrityError: If the file is damaged.
            UsageError: If it cannot be written, is locked or closed.
        """
        with _translated(self.path):
            try:
                self._db.execute(f"BEGIN {kind}")
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def clear(self) -> None:
        """Delete the content of all tables."""
        with self.transaction() as db:
            for table in ("wraps", "rows", "derived", "outgoing"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names

    def vacuum(self) -> None:
        """Give the pages that nothing uses back to the file system."""
        with _translated(self.path):
            self._db.execute("VACUUM")

    def broken(self, what: str) -> IntegrityError:
        """Return the refusal of a piece that is not what was written."""
        return IntegrityError(
            f"{self.path}: {what} is not what was written",
            fix="keep the file for inspection; erase the store to begin a new one",
        )

    def _prepare(self) -> None:
        with _translated(self.path):
            for setting in (
                "trusted_schema = OFF",  # a planted view or trigger runs nothing
                "cell_size_check = ON",
                "temp_store = MEMORY",
                "secure_delete = ON",
                "journal_mode = TRUNCATE",
                "synchronous = FULL",
            ):
                self._db.execute(f"PRAGMA {setting}").fetchall()
        with self.transaction():
            self._make_tables()
        if self.read("PRAGMA integrity_check(1)") != [("ok",)]:
            raise self.broken("what its pages hold")

    def _make_tables(self) -> None:
        found = self.read("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        marks = self.read("PRAGMA application_id") + self.read("PRAGMA user_version")
        if not found and marks == [(0,), (0,)]:
            for statement in _TABLES:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
            return
        ours = len(found) == len(_TABLES) and set(found) == {(sql,) for sql in _TABLES}
        if not ours or marks != [(_APPLICATION,), (_VERSION,)]:
            raise self.broken("the list of its tables")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Say what SQLite or the file system refused in words a person can act on."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise UsageError(f"{path}: the store is closed", fix="open it again") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says where it happened
        if code in _BUSY:
            raise UsageError(
                f"{path}: another process keeps it locked", fix="wait until that process has ended"
            ) from error
        # A damaged header, too, may say that the file is for reading only.
        if code in _UNUSABLE and not (code == sqlite3.SQLITE_READONLY and _is_ours(path)):
            raise _unusable(path, "the disk is full, or this account lacks rights") from error
        # Our statements fit our tables: whatever else SQLite refuses comes from the file.
        raise _damaged(path) from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged file in its own words
        raise _damaged(path) from error
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error


def _is_ours(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: it is damaged or no store of homebody",
        fix="keep the file for inspection; erase the store to begin a new one",
    )


def _unusable(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path}: it cannot be read or written ({why})",
        fix="make room on the disk and give this account the right to write there",
    )
