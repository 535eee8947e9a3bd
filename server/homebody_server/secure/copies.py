"""What the server may keep as proof that somebody had said yes, and cannot tell who.

One SQLite file in the fleet's folder, mode 0600. A row is what a device showed of its consent: the
random tag of the decision as id, and the commitment to the device's receipts, an HMAC-SHA256 under
a secret that never leaves the device (``homebody_privacy.receipts.commitment``). No node, no
device, no run, no round stands in it, and rows lie in the order of their random ids, so that the
file does not say who came when; only the year a row was seen last, because it has to end.

A device that shows its receipts computes the commitment again; one that destroyed its secret has
nothing in this file that is about it. Rows can be deleted one by one; deleted bytes are
overwritten.
"""

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from homebody_privacy.errors import IntegrityError, UsageError
from homebody_privacy.ledger_entries import Bucket, bucket_of

_TAG: Final = re.compile(r"[0-9a-f]{32}")
_COMMITMENT: Final = re.compile(r"[0-9a-f]{64}")
_PATIENCE_S: Final = 30.0
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS copies (
        tag TEXT PRIMARY KEY, commitment TEXT NOT NULL, year INTEGER NOT NULL
    ) WITHOUT ROWID
"""


class ConsentCopies:
    """The server's copies; use it in a ``with`` statement. Several processes may.

    Args:
        path: The file, made at the first use, mode 0600.

    Raises:
        IntegrityError: If the file is damaged.
        UsageError: If it cannot be opened or written.
    """

    __slots__ = ("_db", "_path")

    def __init__(self, path: Path) -> None:
        """Open the file."""
        self._path = path
        with self._errors():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
            self._db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
        with self._errors():
            self._db.execute("PRAGMA secure_delete = ON").fetchall()
            self._db.execute(_TABLE)

    def __enter__(self) -> Self:
        """Return the copies themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._db.close()

    def keep(self, tag: str, commitment: str, *, now: float) -> None:
        """Keep what a device showed of its decision; an earlier commitment of it gives way.

        Args:
            tag: Tag of the decision, 32 hex digits.
            commitment: Commitment to the receipts, 64 hex digits.
            now: Unix seconds.

        Raises:
            ValueError: If they are of another form.
            IntegrityError: If the file is damaged.
            UsageError: If it cannot be written.
        """
        if not _TAG.fullmatch(tag) or not _COMMITMENT.fullmatch(commitment):
            raise ValueError("a tag has 32 hex digits and a commitment 64")
        row = (tag, commitment, _year(now))
        with self._errors():
            self._db.execute("INSERT OR REPLACE INTO copies VALUES (?, ?, ?)", row)

    def proves(self, tag: str, commitment: str) -> bool:
        """Tell whether the receipts behind a commitment were shown under this tag.

        Whoever asks has both from the device of the person, who alone can compute the second.
        """
        query = "SELECT count(*) FROM copies WHERE tag = ? AND commitment = ?"
        with self._errors():
            return bool(self._db.execute(query, (tag, commitment)).fetchone()[0])

    def forget(self, tag: str) -> bool:
        """Delete what was kept under a tag; return whether there was anything."""
        with self._errors():
            return self._db.execute("DELETE FROM copies WHERE tag = ?", (tag,)).rowcount == 1

    def forget_before(self, years: int, *, now: float) -> None:
        """Delete what was last seen more than so many years ago, the years counted whole."""
        with self._errors():
            self._db.execute("DELETE FROM copies WHERE year < ?", (_year(now) - years,))

    def bucket(self) -> Bucket:
        """Return how many there are, as the range in which the ledger speaks of people."""
        with self._errors():
            return bucket_of(self._db.execute("SELECT count(*) FROM copies").fetchone()[0])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise UsageError(f"{self._path}: cannot be used ({type(error).__name__})") from error
        except sqlite3.DatabaseError as error:
            raise IntegrityError(
                f"{self._path} is damaged", fix="delete it: it proves nothing any more"
            ) from error


def _year(now: float) -> int:
    return datetime.fromtimestamp(now, UTC).year
