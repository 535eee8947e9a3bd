"""Remember which messages were taken, so that none counts twice, also after a crash.

One SQLite file. A row is an HMAC-SHA256 (RFC 2104) over run, session, step, node and direction: who
has the file without its key reads no id in it, only how many messages of open sessions were taken
and the serials of sessions. Each answer is on disk before it is given. A session that is closed
takes its rows along, and nothing of it or of an earlier one is taken again.

Keep the key apart from the file, both with the server's other secrets. A deleted file forgets; the
rising serial of sessions, which the server's own record keeps, is what stands then.
"""

import hashlib
import hmac
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import rfc8785

from .durable import sync_folder
from .errors import IntegrityError, InvalidFileError, UsageError

KEY_BYTES: Final = 32
_VERSION: Final = 1
_PATIENCE_S: Final = 30.0
_MOST: Final = 2**53 - 1
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_TABLES: Final = """
    CREATE TABLE IF NOT EXISTS taken (
        tag BLOB PRIMARY KEY, run BLOB NOT NULL, session INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS closed (
        run BLOB PRIMARY KEY, session INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS key (proof BLOB NOT NULL);
"""


class ReplayCache:
    """Messages that were taken; use it in a ``with`` statement. Several processes may.

    Args:
        path: The file, made at the first use, mode 0600.
        key: 32 secret bytes, the same for the life of the file.
        durable: Sync every answer to disk. A simulation may leave that out: its answers then
            outlive a killed process, but not a power cut.

    Raises:
        IntegrityError: If the file is damaged or was made with another key.
        InvalidFileError: If others than the owner have rights to it, or nothing can be written.
    """

    __slots__ = ("_db", "_key", "_path")

    def __init__(self, path: Path, key: bytes, *, durable: bool = True) -> None:
        """Open the file."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"key must have {KEY_BYTES} bytes, got {len(key)}")
        self._path, self._key = path, key
        _make_private(path)
        self._db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
        try:
            self._prepare(durable=durable)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        """Return the cache itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def accept(self, run: str, session: int, step: str, node_id: bytes, direction: str) -> bool:
        """Take a message, once; on disk before the answer.

        Ask this after the message was opened and before it is used.

        Args:
            run: Identity of the run.
            session: Serial of the session.
            step: Leg of the session.
            node_id: The node it comes from or goes to.
            direction: ``up`` or ``down``.

        Returns:
            True the first time; False for a replay and for a session that is closed.

        Raises:
            IntegrityError: If the file is damaged.
            UsageError: If another process keeps it locked.
        """
        _check_session(session)
        run_tag = self._tag("run", run)
        tag = self._tag("message", run, session, str(step), node_id.hex(), direction)
        with self._transaction() as db:
            if session <= self._closed(run_tag):
                return False
            row = (tag, run_tag, session)
            return db.execute("INSERT OR IGNORE INTO taken VALUES (?, ?, ?)", row).rowcount == 1

    def close_session(self, run: str, session: int) -> None:
        """Take nothing more of this session and of the earlier ones of the run; drop their rows.

        A serial below one that was closed already changes nothing.
        """
        _check_session(session)
        run_tag = self._tag("run", run)
        with self._transaction() as db:
            last = max(session, self._closed(run_tag))
            db.execute("INSERT OR REPLACE INTO closed VALUES (?, ?)", (run_tag, last))
            db.execute("DELETE FROM taken WHERE run = ? AND session <= ?", (run_tag, last))
        with self._errors():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _closed(self, run_tag: bytes) -> int:
        query = "SELECT session FROM closed WHERE run = ?"
        row = self._db.execute(query, (run_tag,)).fetchone()
        return -1 if row is None else int(row[0])

    def _tag(self, *words: str | int) -> bytes:
        """Return a keyed hash; as JSON, so that no two lists of words look alike."""
        message = b"homebody/replay/v1\0" + rfc8785.dumps(list(words))
        return hmac.new(self._key, message, hashlib.sha256).digest()

    def _prepare(self, *, durable: bool) -> None:
        with self._errors():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("PRAGMA secure_delete = ON")
        with self._transaction() as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found not in {0, _VERSION}:
                raise IntegrityError(f"{self._path}: it is no replay cache of this version")
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            proofs = [row[0] for row in db.execute("SELECT proof FROM key")]
            if not proofs:
                db.execute("INSERT INTO key VALUES (?)", (self._tag("key"),))
            elif proofs != [self._tag("key")]:
                raise IntegrityError(f"{self._path}: it was made with another key")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _BUSY:
                raise UsageError(f"{self._path}: another process keeps it locked") from error
            raise InvalidFileError(
                f"{self._path}: nothing can be written there: {error}",
                fix="make room on the disk, or give the process its rights back",
            ) from error
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"{self._path}: the replay cache is damaged") from error


def _check_session(session: int) -> None:
    if type(session) is not int or not 0 <= session <= _MOST:
        raise ValueError("session must be an integer from 0 to 2**53 - 1")


def _make_private(path: Path) -> None:
    new = not path.exists()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if new:
        sync_folder(path.parent)
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InvalidFileError(
            f"{path}: others than the owner have rights to it", fix=f"chmod 600 {path}"
        )
