"""Reading a ledger without changing it, and the checks that every use of one begins with."""

import fcntl
from collections.abc import Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Final

from .anchor import AnchorBook, check
from .errors import UsageError
from .ledger_entries import Header
from .ledger_lines import LedgerLines, check_beside, parse_lines
from .ledger_record import LedgerRecord
from .note import VerifierKey

LEDGER_NAME: Final = "ledger.jsonl"
"""Name of the ledger in a run's folder."""


def read_lines(
    path: Path, anchors: AnchorBook | None = None, keys: Sequence[VerifierKey] = ()
) -> tuple[LedgerLines, bool]:
    """Read a ledger without changing it.

    Args:
        path: Ledger of this or another run.
        anchors: Where its size and last head are kept besides; None does not look.
        keys: Keys its checkpoints are known by; none does not look.

    Returns:
        Its lines, a last one cut short left out, and whether it is closed: False while a process
        that may still charge has it open.

    Raises:
        FileNotFoundError: If there is no such file.
        IntegrityError: If a line is damaged (the message names it), or the ledger is behind its
            anchor, or does not begin with its checkpoint.
    """
    with path.open("rb") as file:
        closed = True
        try:
            lock_ledger(file, fcntl.LOCK_SH, path)
        except UsageError:
            closed = False
        lines = parse_lines(file.read(), str(path))
        # An open one may be anchored and signed further by the time that is read.
        check_anchor(anchors if closed else None, path, lines)
        if keys and closed:
            check_beside(lines, path, keys)
        return lines, closed


def read_ledger(
    path: Path, anchors: AnchorBook | None = None, keys: Sequence[VerifierKey] = ()
) -> tuple[LedgerRecord, bool]:
    """Return what a ledger says and whether it is closed; raises as ``read_lines``."""
    lines, closed = read_lines(path, anchors, keys)
    return lines.record, closed


def anchor_name(header: Header, path: Path) -> str:
    """Return the name under which a ledger is anchored: its people, then its place."""
    return f"{population_prefix(header.population)}{path.resolve()}"


def population_prefix(population: str) -> str:
    """Return how the names of all anchored ledgers about the same people begin."""
    return f"ledger|{population}|"


def check_anchor(anchors: AnchorBook | None, path: Path, lines: LedgerLines) -> None:
    """Refuse a ledger that is behind its anchor.

    Args:
        anchors: Where its size and last head are kept besides; None does not look.
        path: Its file.
        lines: What it says.

    Raises:
        IntegrityError: If it is, or says it is anchored and is not.
    """
    if anchors is None:
        return
    header, heads = lines.record.header, lines.heads
    mark = anchors.mark(anchor_name(header, path))
    anchored = header.scope == "lifetime"
    check(mark, lambda size: heads[size - 1].hex(), len(heads), str(path), anchored=anchored)


def lock_ledger(file: FileIO | BufferedReader, kind: int, path: Path) -> None:
    """Lock a ledger's open file.

    Args:
        file: The file.
        kind: ``fcntl.LOCK_EX`` to write, ``fcntl.LOCK_SH`` to read.
        path: Its path, for the message.

    Raises:
        UsageError: If another process has it open.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"{path}: another process has this ledger open", fix="wait until that run has ended"
        ) from error
