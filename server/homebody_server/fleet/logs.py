"""Logs of a fleet's processes: kept short, by time, and read back."""

import shutil
from collections import deque
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 4 * 1024 * 1024
"""A log that is longer is set aside."""
KEPT: Final = 3
"""Older logs that are kept of each process."""


def rotate(log: Path, *, most_bytes: int = MOST_BYTES) -> bool:
    """Set a log aside if it is too long, and tell whether it was.

    Its writer keeps the file open for appending: the text is copied, then the file made empty.
    What is written between the two is lost.
    """
    try:
        if log.stat().st_size <= most_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    newest = log.with_name(f"{log.name}.1")
    shutil.copyfile(log, newest)
    newest.chmod(0o600)
    with log.open("r+b") as file:
        file.truncate(0)
    return True


def tail(log: Path, lines: int) -> list[str]:
    """Return the last lines of a log, of the one before it too where it is short."""
    found: deque[str] = deque(maxlen=lines)
    for file in (log.with_name(f"{log.name}.1"), log):
        if file.exists():
            found.extend(file.read_text("utf-8", errors="replace").splitlines())
    return list(found)
