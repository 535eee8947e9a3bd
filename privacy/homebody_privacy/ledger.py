"""Write-ahead record of everything charged: a release is entered before it is made.

One JSON object a line: ``{"entry": ..., "hash": ...}`` in RFC 8785 form, where ``hash`` is the
SHA-256 of the previous line's hash and the entry, so that a change anywhere shows. Every entry
is synced to disk before the call returns. The file holds no time, no device and no count of who
came; it is public. What an entry means and which may follow which is ``ledger_record``'s.

A ledger may be anchored (``anchor``): after each entry its size and last hash are kept in another
place, so that a ledger that was deleted, cut or exchanged is noticed when it is opened.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from io import BufferedReader, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import rfc8785
from pydantic import BaseModel, ValidationError

from .anchor import START, AnchorBook, Mark, check
from .charges import Charge
from .durable import sync_folder
from .errors import IntegrityError, UsageError
from .ledger_record import (
    Answer,
    Header,
    Intent,
    LedgerRecord,
    Purchase,
    Release,
    Statistic,
    Unanswered,
    Void,
)

_ROOT: Final = bytes(32)  # stands before the first entry
_MOST_INTEGER: Final = 2**53 - 1  # of canonical JSON


class Ledger:
    """An open ledger file, locked against every other writer; use it in a ``with`` statement.

    Made by ``create`` and ``open`` only.
    """

    __slots__ = ("_anchors", "_file", "_head", "_record", "path")

    def __init__(
        self,
        path: Path,
        file: FileIO,
        record: LedgerRecord,
        head: bytes,
        anchors: AnchorBook | None = None,
    ) -> None:
        """Keep a file that is locked and stands at its end."""
        self.path = path
        self._file = file
        self._record = record
        self._head = head
        self._anchors = anchors

    @classmethod
    def create(cls, path: Path, header: Header, anchors: AnchorBook | None = None) -> Self:
        """Start a new ledger.

        Args:
            path: File that does not exist yet.
            header: What the run promises.
            anchors: Where its size and last hash are kept besides; None for nowhere.

        Raises:
            FileExistsError: If there is a file already: a ledger is never written over.
            IntegrityError: If there was an anchored ledger in this place, which is gone.
        """
        if anchors is not None and not path.exists():
            name = anchor_name(header, path)
            check(anchors.mark(name), lambda _: None, 0, str(path))
            anchors.advance(name, START)
        # Written beside and then put in place: a crash leaves no ledger without a header.
        beside = path.with_name(f".{path.name}.new")
        file = beside.open("wb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ledger = cls(path, file, LedgerRecord(header), _ROOT, anchors)
        ledger._write(header.model_dump(mode="json", by_alias=True))
        try:
            os.link(beside, path)
        except FileExistsError:
            file.close()
            raise
        finally:
            beside.unlink()
        sync_folder(path.parent)
        ledger._anchor_now()
        return ledger

    @classmethod
    def open(cls, path: Path, anchors: AnchorBook | None = None) -> Self:
        """Continue a ledger; a last line cut short by a crash is dropped.

        Such a line was never synced, so what it would have charged was never released.

        Args:
            path: The file.
            anchors: As for ``create``; None does not look.

        Raises:
            FileNotFoundError: If there is no such file.
            UsageError: If another process has it open.
            IntegrityError: If any other line is damaged (the message names the line), or the
                ledger is behind its anchor.
        """
        file = path.open("r+b", buffering=0)
        try:
            _lock(file, fcntl.LOCK_EX, path)
            record, heads, length = _parse(file.read(), path)
            _check_anchor(anchors, record.header, path, heads)
            file.truncate(length)
            os.fsync(file.fileno())
            file.seek(length)
        except BaseException:
            file.close()
            raise
        ledger = cls(path, file, record, heads[-1], anchors)
        ledger._anchor_now()
        return ledger

    def __enter__(self) -> Self:
        """Return the ledger itself."""
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
        """Close the file and give up the lock."""
        self._file.close()

    @property
    def record(self) -> LedgerRecord:
        """What the ledger says so far; only the ledger itself adds to it."""
        return self._record

    @property
    def header(self) -> Header:
        """What the run promised."""
        return self._record.header

    @property
    def head(self) -> str:
        """Hash of the last entry, as hex: it stands for the whole ledger."""
        return self._head.hex()

    def charges(self) -> list[Charge]:
        """Return everything charged, in order, released or not."""
        return self._record.charges()

    def intend(self, round: int, charge: Charge | None) -> None:  # noqa: A002 - glossary
        """Charge the next round, on disk, before anything of it is released.

        Args:
            round: ``opened + 1``.
            charge: What it costs; None if a purchase paid for the whole run.

        Raises:
            ValueError: If the round is out of turn or the charge is for no round.
        """
        self._append(Intent(round=round, charge=None if charge is None else charge.to_dict()))

    def release(self, round: int, model: str, unclipped: float | None = None) -> None:  # noqa: A002
        """Confirm that the open round was released.

        Args:
            round: The last opened round.
            model: SHA-256 of the released model, as hex.
            unclipped: The released, noised share of updates below the clip norm; None if it is
                fixed.

        Raises:
            ValueError: If ``round`` is not open or ``model`` is no digest.
        """
        self._append(Release(round=round, model=model, unclipped=unclipped))

    def void(self, round: int, reason: str | None = None) -> None:  # noqa: A002 - glossary
        """Close the open round without a release; what it was charged stays charged.

        Args:
            round: The last opened round.
            reason: Why, as a code; never a count.

        Raises:
            ValueError: If ``round`` is not open or ``reason`` is no code.
        """
        self._append(Void(round=round, reason=reason))

    def purchase(self, name: str, charge: Charge) -> None:
        """Charge what is no round, on disk, before anything of it is released.

        Args:
            name: What is bought, once in a ledger: ``run``, ``tuning``, ``statistics/gram``,
                ``metrics/hit_rate/1``.
            charge: What it costs.

        Raises:
            ValueError: If it was bought before or the charge is for nothing.
        """
        self._append(Purchase(name=name, charge=charge.to_dict()))

    def answer(self, name: str, values: Mapping[str, float]) -> None:
        """Enter the noised figures that a purchase released.

        Args:
            name: The purchase.
            values: Released figures by name. Public.

        Raises:
            ValueError: If nothing of that name is open.
        """
        self._append(Answer(name=name, values=dict(values)))

    def statistic(self, name: str, digest: str) -> None:
        """Enter the noised sum that a purchase released.

        Args:
            name: The purchase.
            digest: SHA-256 of the released entries, float32 little-endian, as hex.

        Raises:
            ValueError: If nothing of that name is open, a round was opened before, or ``digest``
                is none.
        """
        self._append(Statistic(name=name, sum=digest))

    def unanswered(self, name: str, reason: str) -> None:
        """Enter that nothing was released for a purchase; its charge stands.

        Args:
            name: The purchase.
            reason: Why, as a code; never a count.

        Raises:
            ValueError: If nothing of that name is open or ``reason`` is no code.
        """
        self._append(Unanswered(name=name, reason=reason))

    def _append(self, entry: BaseModel) -> None:
        values = entry.model_dump(mode="json")
        self._record.check(values)
        self._write(values)
        self._record.apply(values)
        self._anchor_now()

    def _anchor_now(self) -> None:
        if self._anchors is not None:
            self._anchors.advance(anchor_name(self.header, self.path), self._mark())

    def _mark(self) -> Mark:
        return Mark(size=self._record.entries, head=self.head)

    def _write(self, entry: dict[str, Any]) -> None:
        head = _chained(self._head, entry)
        line = rfc8785.dumps({"entry": entry, "hash": head.hex()}) + b"\n"
        try:
            written = self._file.write(line)
            os.fsync(self._file.fileno())
        except OSError:
            self.close()  # nothing may follow a line of which only a part may be there
            raise
        if written != len(line):
            self.close()
            raise OSError(errno.ENOSPC, "the line was cut short", str(self.path))
        self._head = head


def read_ledger(path: Path, anchors: AnchorBook | None = None) -> tuple[LedgerRecord, bool]:
    """Read a ledger without changing it.

    Args:
        path: Ledger of this or another run.
        anchors: Where its size and last hash are kept besides; None does not look.

    Returns:
        What it says, a last line cut short left out, and whether it is closed: False while a
        process that may still charge has it open.

    Raises:
        FileNotFoundError: If there is no such file.
        IntegrityError: If a line is damaged (the message names it), or the ledger is behind its
            anchor.
    """
    with path.open("rb") as file:
        closed = True
        try:
            _lock(file, fcntl.LOCK_SH, path)
        except UsageError:
            closed = False
        record, heads, _ = _parse(file.read(), path)
        # An open one may be anchored further by the time its mark is read.
        _check_anchor(anchors if closed else None, record.header, path, heads)
        return record, closed


def anchor_name(header: Header, path: Path) -> str:
    """Return the name under which a ledger is anchored: its people, then its place."""
    return f"{population_prefix(header.population)}{path.resolve()}"


def population_prefix(population: str) -> str:
    """Return how the names of all anchored ledgers about the same people begin."""
    return f"ledger|{population}|"


def _check_anchor(
    anchors: AnchorBook | None, header: Header, path: Path, heads: list[bytes]
) -> None:
    if anchors is None:
        return
    mark = anchors.mark(anchor_name(header, path))
    anchored = header.scope == "lifetime"
    check(mark, lambda size: heads[size - 1].hex(), len(heads), str(path), anchored=anchored)


def _parse(content: bytes, path: Path) -> tuple[LedgerRecord, list[bytes], int]:
    """Return what whole lines say, the hash of each and their length in bytes."""
    length = content.rfind(b"\n") + 1
    record: LedgerRecord | None = None
    heads: list[bytes] = []
    for number, line in enumerate(content[:length].splitlines(), start=1):
        try:
            entry, head = _next(line, heads[-1] if heads else _ROOT)
            if record is None:
                record = LedgerRecord(Header.model_validate(entry))
            else:
                record.apply(entry)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            why = "an entry breaks its schema" if isinstance(error, ValidationError) else error
            raise IntegrityError(f"{path}: line {number} is not what was written: {why}") from error
        heads.append(head)
    if record is None:
        raise IntegrityError(f"{path}: line 1 is missing: the ledger has no header")
    return record, heads, length


def _next(line: bytes, head: bytes) -> tuple[dict[str, Any], bytes]:
    stored = json.loads(line, parse_int=_number)
    entry, head = stored["entry"], _chained(head, stored["entry"])
    if line != rfc8785.dumps({"entry": entry, "hash": head.hex()}):
        raise ValueError("its hash does not follow from the lines before")
    return entry, head


def _number(digits: str) -> int | float:
    """Read what canonical JSON writes without a point: 1e17 is a decimal, and no integer of it."""
    value = int(digits)
    return value if abs(value) <= _MOST_INTEGER else float(digits)


def _chained(head: bytes, entry: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(head + rfc8785.dumps(dict(entry))).digest()


def _lock(file: FileIO | BufferedReader, kind: int, path: Path) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"{path}: another process has this ledger open", fix="wait until that run has ended"
        ) from error
