"""Files that survive a crash: exchanged in one step, on disk when the call returns, locked."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_durably(
    path: Path, content: bytes, *, mode: int = 0o644, old_will_do: bool = False
) -> None:
    """Replace a file so that a crash leaves the old one or the new one, whole.

    One writer at a time: use ``locked`` where there may be more.

    Args:
        path: The file; its folder must be there.
        content: All of it.
        mode: Rights of the new file.
        old_will_do: Whether, after a crash, the old file may stand there still; it saves a wait.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    if not old_will_do:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, too: a file that was made or renamed there stays so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep every other holder of a folder's lock out; no file is made in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Keep every other holder of a lock file out; the lock ends with the process that holds it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
