"""What left this device, and what was stopped: one line each, in words, no behaviour data.

Each entry is on disk before the bytes are handed over. The file is appended only, and stays when
data is erased: it is the person's own record of what was sent.
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from homebody_privacy.durable import sync_folder
from homebody_privacy.errors import IntegrityError

KINDS: Final = (
    "update",
    "metric",
    "kpi",
    "drift",
    "experiment",
    "log",
    "crash_report",
    "leave",
    "query",
)
"""What can leave a device at all."""

_LONGEST: Final = 200
_CHARGE: Final = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")
_FORMER: Final = "ledger"  # never set: a log of before lines named their charge by its name


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressEntry:
    """One thing that left, or was stopped at the gate.

    Attributes:
        time: Unix seconds.
        kind: One of ``KINDS``.
        purpose: The switch it was sent under.
        bytes: Size of what was handed over, or would have been.
        summary: What it is, in words; never a value of an event.
        round: Round it is for, from 1; None for none.
        charge: What pays for it in the run's ledger: a purchase, or ``round/3``; None for what
            holds nothing about the person.
        sent: Whether it was handed over.
        why: Why it was stopped, as code and sentence; empty if it was not.
    """

    time: float
    kind: str
    purpose: str
    bytes: int
    summary: str
    round: int | None = None
    charge: str | None = None
    sent: bool = True
    why: str = ""

    def __post_init__(self) -> None:
        """Refuse what is not short words and sizes."""
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if self.bytes < 0:
            raise ValueError("bytes must be at least 0")
        if not self.summary.isprintable() or not 1 <= len(self.summary) <= _LONGEST:
            raise ValueError(f"summary must be 1 to {_LONGEST} printable characters")
        if self.charge is not None and not _CHARGE.fullmatch(self.charge):
            raise ValueError("charge must be a purchase or a round of a ledger")
        if self.sent == bool(self.why):
            raise ValueError("an entry says why if and only if nothing was sent")


class EgressLog:
    """The egress log of one device. One writer at a time."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        """Use a file that may not exist yet."""
        self.path = path

    def append(self, entry: EgressEntry) -> None:
        """Write an entry; it is on disk when the call returns."""
        line = json.dumps(asdict(entry), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            left = memoryview(b"\n" + line if torn else line)  # a crash cut the last one short
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_folder(self.path.parent)

    def entries(self) -> list[EgressEntry]:
        """Return all entries, oldest first; half a line that a crash left is passed over.

        Raises:
            IntegrityError: If more than such halves cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        lines = [line for line in content.split(b"\n") if line]
        read = [_read(line) for line in lines]
        if any(
            entry is None and line.endswith(b"}") for entry, line in zip(read, lines, strict=True)
        ):
            raise IntegrityError(f"{self.path}: a line is not what was written")
        return [entry for entry in read if entry is not None]

    def tail(self, most: int = 50) -> list[EgressEntry]:
        """Return the latest entries, oldest first.

        Raises:
            IntegrityError: As ``entries``.
        """
        return self.entries()[-most:] if most > 0 else []


def _read(line: bytes) -> EgressEntry | None:
    try:
        values = json.loads(line)
        values.pop(_FORMER, None)
        return EgressEntry(**values)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return None
