"""Write-ahead record of everything charged: a release is entered before it is made.

One JSON object a line: ``{"entry": ..., "hash": ...}`` in RFC 8785 form, where ``hash`` is the
SHA-256 of the previous line's hash and the entry, so that a change anywhere shows. Every entry
is synced to disk before the call returns. The file holds no time, no device and no count of who
came; it is public.
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
from typing import Any, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .charges import PoissonRounds
from .errors import IntegrityError, UsageError

_ROOT: Final = bytes(32)  # stands before the first entry
_STRICT: Final = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
_DIGEST: Final = r"^[0-9a-f]{64}$"


class Header(BaseModel):
    """What a run promised before its first round."""

    model_config = _STRICT

    kind: Literal["header"] = "header"
    """Which entry this is."""
    version: Literal["ledger/1"] = Field(default="ledger/1", alias="schema")
    """Format of the file; ``schema`` in it."""
    run: str = Field(min_length=1)
    """Name of the run."""
    population: str = Field(pattern=_DIGEST)
    """SHA-256 that stands for the people: runs with the same one spend the same budget."""
    devices: int = Field(ge=1)
    """Devices of the population."""
    delta: float = Field(gt=0, lt=1)
    """Failure chance of the claim."""
    ceiling: float = Field(gt=0)
    """Epsilon that is never passed."""
    config: str = Field(pattern=_DIGEST)
    """Digest of the privacy config."""
    unit: Literal["user"] = "user"
    """Unit of privacy."""
    adjacency: Literal["zero_out"] = "zero_out"
    """How two worlds differ."""


class _Intent(BaseModel):
    model_config = _STRICT

    kind: Literal["intent"] = "intent"
    round: int = Field(ge=1)
    charge: dict[str, int | float]


class _Release(BaseModel):
    model_config = _STRICT

    kind: Literal["release"] = "release"
    round: int = Field(ge=1)
    model: str = Field(pattern=_DIGEST)


class LedgerRecord:
    """What a ledger says, read from its lines; knows nothing of files.

    Args:
        header: First entry.
    """

    __slots__ = ("_charges", "header", "opened", "released")

    def __init__(self, header: Header) -> None:
        """Start with no round opened."""
        self.header = header
        self.opened = 0
        """Last round charged, 0 before the first."""
        self.released = 0
        """Last round released, 0 before the first."""
        self._charges: list[PoissonRounds] = []

    def charges(self) -> list[PoissonRounds]:
        """Return what was charged, round by round, released or not."""
        return list(self._charges)

    def check_intent(self, round: int, charge: PoissonRounds) -> None:  # noqa: A002 - glossary
        """Refuse to charge a round out of turn.

        Raises:
            ValueError: If ``round`` is not the next one, or the charge is for no round.
        """
        if round != self.opened + 1:
            raise ValueError(f"round {round} cannot be opened after round {self.opened}")
        if charge.rounds < 1:
            raise ValueError("the charge of an opened round must have at least 1 round")

    def check_release(self, round: int) -> None:  # noqa: A002 - glossary
        """Refuse to release a round that is not open.

        Raises:
            ValueError: If ``round`` is not the last one opened or was released before.
        """
        if round != self.opened or round == self.released:
            raise ValueError(f"round {round} is not open: nothing may be released for it")

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take one more entry in.

        Raises:
            ValueError: If the entry breaks its schema or is out of turn.
        """
        if entry.get("kind") == "intent":
            intent = _Intent.model_validate(entry)
            charge = PoissonRounds.from_dict(intent.charge)
            self.check_intent(intent.round, charge)
            self._charges.append(charge)
            self.opened = intent.round
        else:
            release = _Release.model_validate(entry)
            self.check_release(release.round)
            self.released = release.round


class Ledger:
    """An open ledger file, locked against every other writer; use it in a ``with`` statement.

    Made by ``create`` and ``open`` only.
    """

    __slots__ = ("_file", "_head", "_record", "path")

    def __init__(self, path: Path, file: FileIO, record: LedgerRecord, head: bytes) -> None:
        """Keep a file that is locked and stands at its end."""
        self.path = path
        self._file = file
        self._record = record
        self._head = head

    @classmethod
    def create(cls, path: Path, header: Header) -> Self:
        """Start a new ledger.

        Args:
            path: File that does not exist yet.
            header: What the run promises.

        Raises:
            FileExistsError: If there is a file already: a ledger is never written over.
        """
        file = path.open("xb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ledger = cls(path, file, LedgerRecord(header), _ROOT)
        ledger._write(header.model_dump(mode="json", by_alias=True))
        _sync_folder(path.parent)
        return ledger

    @classmethod
    def open(cls, path: Path) -> Self:
        """Continue a ledger; a last line cut short by a crash is dropped.

        Such a line was never synced, so what it would have charged was never released.

        Raises:
            FileNotFoundError: If there is no such file.
            UsageError: If another process has it open.
            IntegrityError: If any other line is damaged; the message names the line.
        """
        file = path.open("r+b", buffering=0)
        try:
            _lock(file, fcntl.LOCK_EX, path)
            record, head, length = _parse(file.read(), path)
            file.truncate(length)
            os.fsync(file.fileno())
            file.seek(length)
        except BaseException:
            file.close()
            raise
        return cls(path, file, record, head)

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
    def header(self) -> Header:
        """What the run promised."""
        return self._record.header

    @property
    def opened(self) -> int:
        """Last round charged, 0 before the first."""
        return self._record.opened

    @property
    def released(self) -> int:
        """Last round released, 0 before the first."""
        return self._record.released

    @property
    def head(self) -> str:
        """Hash of the last entry, as hex: it stands for the whole ledger."""
        return self._head.hex()

    def charges(self) -> list[PoissonRounds]:
        """Return what was charged, round by round, released or not."""
        return self._record.charges()

    def intend(self, round: int, charge: PoissonRounds) -> None:  # noqa: A002 - glossary
        """Charge the next round, on disk, before anything of it is released.

        Raises:
            ValueError: If ``round`` is not ``opened + 1`` or the charge is for no round.
        """
        self._record.check_intent(round, charge)
        self._append(_Intent(round=round, charge=charge.to_dict()))

    def release(self, round: int, model: str) -> None:  # noqa: A002 - glossary
        """Confirm that the open round was released.

        Args:
            round: The last opened round.
            model: SHA-256 of the released model, as hex.

        Raises:
            ValueError: If ``round`` is not open or ``model`` is no digest.
        """
        self._record.check_release(round)
        self._append(_Release(round=round, model=model))

    def _append(self, entry: _Intent | _Release) -> None:
        values = entry.model_dump(mode="json")
        self._write(values)
        self._record.apply(values)

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


def read_ledger(path: Path) -> tuple[LedgerRecord, bool]:
    """Read a ledger without changing it.

    Args:
        path: Ledger of this or another run.

    Returns:
        What it says, a last line cut short left out, and whether it is closed: False while a
        process that may still charge has it open.

    Raises:
        FileNotFoundError: If there is no such file.
        IntegrityError: If a line is damaged; the message names it.
    """
    with path.open("rb") as file:
        closed = True
        try:
            _lock(file, fcntl.LOCK_SH, path)
        except UsageError:
            closed = False
        return _parse(file.read(), path)[0], closed


def _parse(content: bytes, path: Path) -> tuple[LedgerRecord, bytes, int]:
    """Return what whole lines say, their last hash and their length in bytes."""
    length = content.rfind(b"\n") + 1
    record, head = None, _ROOT
    for number, line in enumerate(content[:length].splitlines(), start=1):
        try:
            entry, head = _next(line, head)
            if record is None:
                record = LedgerRecord(Header.model_validate(entry))
            else:
                record.apply(entry)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = "an entry breaks its schema" if isinstance(error, ValidationError) else error
            raise IntegrityError(f"{path}: line {number} is not what was written: {why}") from error
    if record is None:
        raise IntegrityError(f"{path}: line 1 is missing: the ledger has no header")
    return record, head, length


def _next(line: bytes, head: bytes) -> tuple[dict[str, Any], bytes]:
    stored = json.loads(line)
    entry, head = stored["entry"], _chained(head, stored["entry"])
    if line != rfc8785.dumps({"entry": entry, "hash": head.hex()}):
        raise ValueError("its hash does not follow from the lines before")
    return entry, head


def _chained(head: bytes, entry: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(head + rfc8785.dumps(dict(entry))).digest()


def _lock(file: FileIO | BufferedReader, kind: int, path: Path) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"{path}: another process has this ledger open", fix="wait until that run has ended"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
