"""Where a device keeps what it joined: on disk before anything is handed over, and anchored.

One SQLite file holds one row a join, each with the hash of all rows up to it. A simulation keeps
all its devices in one file; a real device has its own rows alone. Several processes may use it.

Deleting the file, cutting it or putting an older copy back would give a device its budget again.
So the number of rows and the last hash are anchored (``homebody_privacy.anchor``) in a folder that
no backup of the file covers: a file behind its anchor is refused, by every call, until the app
enrols the device anew with another file under another name. That is a new device to everyone; the
enrolment authority decides whether it may join with a fresh budget.

The file says which runs and rounds a device joined, and no more: no time, no refused invitation.
It has mode 0600 and is not encrypted.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt

from homebody_privacy.anchor import START, AnchorBook, Mark, check
from homebody_privacy.errors import HomebodyError, IntegrityError, UsageError

from .participation import Allowance, Join, Life
from .participation_rows import ROOT, StructError, chained, join_of

_VERSION: Final = 1
_PATIENCE_S: Final = 30.0  # others hold the lock for milliseconds
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNBORN: Final = Life()
_NONE: Final[Mapping[int, int]] = MappingProxyType({})
_Kind = Literal["DEFERRED", "IMMEDIATE"]
_TABLES: Final = (
    """CREATE TABLE joins (
        n INTEGER PRIMARY KEY, device INTEGER NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL,
        model BLOB NOT NULL, terms BLOB NOT NULL, square REAL NOT NULL, head BLOB NOT NULL
    )""",
    "CREATE TABLE anchor (name TEXT NOT NULL)",
    "INSERT INTO anchor VALUES ('')",
    f"PRAGMA user_version = {_VERSION}",
)


class ParticipationStore:
    """The joins of one device, or of many in a simulation; use it in a ``with`` statement.

    Made by ``open`` only. Each call looks at the file and at its anchor again, so that it sees
    what other processes wrote and shuts when an older copy was put back.
    """

    __slots__ = ("_anchors", "_db", "_head", "_lives", "_name", "_path", "_size")

    def __init__(
        self, path: Path, db: sqlite3.Connection, anchors: AnchorBook | None, name: str
    ) -> None:
        """Keep an open database whose rows are yet to be read."""
        self._path = path
        self._db = db
        self._anchors = anchors
        self._name = name
        self._size = 0
        self._head = ROOT
        self._lives: dict[int, Life] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        anchors: AnchorBook | None,
        name: str = "participation",
        durable: bool = True,
    ) -> Self:
        """Open the joins kept in a file, made at the first use.

        Args:
            path: The file.
            anchors: Where its size and last hash are kept, outside every backup of ``path``. None
                is weaker: that the file was deleted or put back is then not noticed.
            name: Name of the anchor, one for each file.
            durable: Sync every join to disk. A simulation may leave that out: its joins then
                outlive a killed process, but not a power cut.

        Raises:
            IntegrityError: If the file is behind its anchor, deleted or damaged, if its anchor is
                gone, or if it is anchored under another name.
            UsageError: If the file is anchored and ``anchors`` is None, or if another process
                keeps it locked.
            ValueError: If the file would lie in the folder of its anchors.
        """
        if anchors is not None and path.resolve().is_relative_to(anchors.folder.resolve()):
            raise ValueError("a record may not lie in the folder of its anchors")
        if anchors is not None and not path.exists():
            check(anchors.mark(name), lambda _: None, 0, str(path))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
        store = cls(path, db, anchors, name)
        try:
            store._prepare(durable=durable)
            store._bring_forward()
        except BaseException:
            db.close()
            raise
        return store

    def __enter__(self) -> Self:
        """Return the store itself."""
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

    @property
    def anchored(self) -> bool:
        """Whether a deleted or restored file is noticed; False is weaker, and to be reported."""
        return self._anchors is not None

    def admit(
        self, device: int, allowance: Allowance, number: int, *, known_joins: int = 0
    ) -> None:
        """Let a device train for a round, or refuse; to be asked before training.

        Nothing is written: a device that trains and then hands nothing over has not joined.

        Args:
            device: Device number.
            allowance: What the config allows in the run.
            number: Round, from 1.
            known_joins: Rounds of the run the server says the device joined; it can only make the
                device stricter.

        Raises:
            PolicyViolationError: If the round comes too early, before the last one, past the
                participation cap or past the last round; or the run is one too many, or was
                joined under other terms.
            BudgetExhaustedError: If the device's own ceiling would be passed.
            IntegrityError: If the file is behind its anchor or damaged.
        """
        refused = self.admit_many([device], allowance, number, known_joins={device: known_joins})
        if refused:
            raise refused[device]

    def admit_many(
        self,
        devices: Iterable[int],
        allowance: Allowance,
        number: int,
        *,
        known_joins: Mapping[int, int] = _NONE,
        digest: str | None = None,
    ) -> dict[int, HomebodyError]:
        """Return the devices of a cohort that may not train, each with its reason. Secret.

        As ``admit`` for each of them, in one look at the file; the others may train. With
        ``digest``, of the broadcast model, also those that joined the round with another model.

        Raises:
            IntegrityError: If the file is behind its anchor or damaged.
        """
        refused = {}
        with self._transaction("DEFERRED"):
            for device in devices:
                life, known = self._life(device), known_joins.get(device, 0)
                if error := life.refusal(allowance, number, model=digest, known_joins=known):
                    refused[device] = error
        return refused

    def record(self, device: int, allowance: Allowance, number: int, digest: str) -> None:
        """Count a join, on disk and anchored, before the contribution is handed over.

        The same round with the same model again, after a crash, is the same join and adds nothing.

        Args:
            device: Device number, from 0.
            allowance: As in ``admit``.
            number: As in ``admit``.
            digest: SHA-256 of the broadcast model, as hex.

        Raises:
            PolicyViolationError: As in ``admit``, or if the round was joined with another model.
            BudgetExhaustedError: As in ``admit``.
            IntegrityError: If the file is behind its anchor or damaged.
            ValueError: If ``device`` or ``digest`` is out of range.
        """
        self.record_many([device], allowance, number, digest)

    def record_many(
        self, devices: Iterable[int], allowance: Allowance, number: int, digest: str
    ) -> None:
        """Count a cohort's joins in one transaction: all of them or, if one is refused, none.

        Raises:
            HomebodyError: As ``record`` for the first device that is refused.
            ValueError: If a device is named twice, or as in ``record``.
        """
        cohort = list(devices)
        if len(set(cohort)) != len(cohort):
            raise ValueError("a device may not be named twice: it would count twice")
        with self._transaction("IMMEDIATE"):
            self._insert(self._joins(cohort, allowance, number, digest))
        self._bring_forward()

    def join_many(
        self, devices: npt.NDArray[np.int64], allowance: Allowance, number: int, digest: str
    ) -> npt.NDArray[np.int64]:
        """Count the joins of those of a cohort that may train, and return them; see ``JoinRecord``.

        Raises:
            IntegrityError: If the file is behind its anchor or damaged.
        """
        refused = self.admit_many(devices.tolist(), allowance, number, digest=digest)
        joining = devices[[device not in refused for device in devices.tolist()]]
        self.record_many(joining.tolist(), allowance, number, digest)
        return joining

    def spent(self, device: int, delta: float) -> float:
        """Return the epsilon a device has spent in all runs of its life. Secret.

        Without credit for sampling: toward whoever sees that it takes part.

        Raises:
            IntegrityError: If the file is behind its anchor or damaged.
            ValueError: If ``delta`` is not above 0 and below 1.
        """
        return self.life(device).epsilon(delta)

    def joins(self, device: int, run: str) -> int:
        """Return the rounds of a run that a device joined. Secret; raises as ``life``."""
        return self.life(device).joins(run)

    def life(self, device: int) -> Life:
        """Return all that a device joined. Secret.

        Raises:
            IntegrityError: If the file is behind its anchor or damaged.
        """
        with self._transaction("DEFERRED"):
            return self._life(device)

    def _life(self, device: int) -> Life:
        return self._lives.get(device, _UNBORN)

    def _joins(
        self, cohort: list[int], allowance: Allowance, number: int, digest: str
    ) -> Iterator[Join]:
        terms = allowance.terms
        for device in cohort:
            life = self._life(device)
            join = Join(
                device=device,
                run=allowance.run,
                round=number,
                model=digest,
                terms=terms,
                square=life.cost(allowance),
            )
            if error := life.refusal(allowance, number, model=digest):
                raise error
            if not life.is_repeat(allowance.run, number):
                yield join

    def _insert(self, joins: Iterable[Join]) -> None:
        rows, head = [], self._head
        for n, join in enumerate(joins, start=self._size + 1):
            head = chained(head, join)
            digests = bytes.fromhex(join.model), bytes.fromhex(join.terms)
            rows.append((n, join.device, join.run, join.round, *digests, join.square, head))
        self._db.executemany("INSERT INTO joins VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _prepare(self, *, durable: bool) -> None:
        """Make the tables of a new file, and have the file say that it is anchored."""
        with _translated(self._path):
            # EXTRA: a commit syncs the folder, too
            self._db.execute(f"PRAGMA synchronous = {'EXTRA' if durable else 'OFF'}")
        with self._begun("IMMEDIATE"):
            self._make_tables()
            told = self._told()
            if told and self._anchors is None:
                raise UsageError(
                    f"{self._path}: it is anchored, and was opened without its anchors"
                )
            if told not in ("", self._name):
                raise IntegrityError(f"{self._path}: it is anchored under another name")
            self._catch_up()
            if self._anchors is None:
                return
            mark = self._anchors.mark(self._name)
            self._check(mark, anchored=bool(told))
            if not told:
                if mark is None:
                    self._anchors.advance(self._name, START)
                self._db.execute("UPDATE anchor SET name = ?", (self._name,))

    def _told(self) -> str:
        """Return the name of the anchor the file says it has; empty if it has none."""
        match self._db.execute("SELECT name FROM anchor").fetchall():
            case [(str() as name,)]:
                return name
            case _:
                raise IntegrityError(f"{self._path}: it is not a record of participation")

    def _make_tables(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        found = self._db.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
        if (version, found) == (0, []):
            for statement in _TABLES:
                self._db.execute(statement)
        elif (version, found) != (_VERSION, [("anchor",), ("joins",)]):
            raise IntegrityError(f"{self._path}: it is not a record of participation")

    def _bring_forward(self) -> None:
        """Anchor all rows, under the lock: a slower process must not anchor an older state."""
        if self._anchors is not None:
            with self._transaction("IMMEDIATE"):
                self._anchors.advance(self._name, Mark(self._size, self._head.hex()))

    @contextmanager
    def _transaction(self, kind: _Kind) -> Iterator[None]:
        """Look at one state of the file, after checking that it is no older than its anchor."""
        # The mark is read first: at any moment another process may add a row and anchor it.
        mark = self._anchors.mark(self._name) if self._anchors is not None else None
        with self._begun(kind):
            self._catch_up()
            if self._anchors is not None:
                self._check(mark, anchored=True)
            yield

    @contextmanager
    def _begun(self, kind: _Kind) -> Iterator[None]:
        """Keep what was written if the block ends well, nothing of it otherwise."""
        with _translated(self._path):
            try:
                self._db.execute(f"BEGIN {kind}")
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _catch_up(self) -> None:
        """Take in the rows that are new since the last look, each checked against its hash."""
        if self._size > 0 and self._head_at(self._size) != self._head.hex():
            raise IntegrityError(f"{self._path}: what was read before is not there any more")
        rows = self._db.execute("SELECT * FROM joins WHERE n > ? ORDER BY n", (self._size,))
        for n, *values, head in rows:
            try:
                join = join_of(*values)
                fits = n == self._size + 1 and head == chained(self._head, join)
            except (AttributeError, TypeError, ValueError, StructError):
                fits = False
            if not fits:
                raise IntegrityError(f"{self._path}: a row is not what was written")
            self._size, self._head = n, head
            self._lives[join.device] = self._life(join.device).after(join)

    def _head_at(self, n: int) -> str | None:
        row = self._db.execute("SELECT head FROM joins WHERE n = ?", (n,)).fetchone()
        return None if row is None else bytes(row[0]).hex()

    def _check(self, mark: Mark | None, *, anchored: bool) -> None:
        check(mark, self._head_at, self._size, str(self._path), anchored=anchored)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Give SQLite's errors that a person can act on a class of their own."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says where it happened
        if code in _BUSY:
            raise UsageError(
                f"{path}: another process keeps it locked", fix="wait until that process has ended"
            ) from error
        if code in _DAMAGED:
            raise IntegrityError(f"{path}: it is damaged or no record of participation") from error
        raise
