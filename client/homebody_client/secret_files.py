"""Small files of secrets: mode 0600, replaced whole and durably, overwritten when they go.

Overwriting reaches the blocks that a plain disk used. Flash memory and file systems that copy on
write may keep the old bytes all the same; nothing a program does there removes them for certain.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homebody_privacy.durable import sync_folder, write_durably
from homebody_privacy.errors import InvalidFileError, UsageError


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, if there is none.

    Raises:
        UsageError: If it cannot be made.
    """
    with _usable(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def read_file(path: Path) -> bytes | None:
    """Return what a file holds; None if there is no file.

    Raises:
        UsageError: If it cannot be read.
    """
    with _usable(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def read_secret(path: Path) -> bytes | None:
    """Return what a file holds that nobody else may read; None if there is no file.

    Raises:
        InvalidFileError: If group or others have any right to it.
        UsageError: If it cannot be read.
    """
    content = read_file(path)
    if content is None:
        return None
    with _usable(path):
        mode = path.stat().st_mode
    if stat.S_IMODE(mode) & 0o077:
        raise InvalidFileError(
            f"{path}: others than the owner have rights to it", fix=f"chmod 600 {path}"
        )
    return content


def replace_secret(path: Path, content: bytes) -> None:
    """Replace a file: a crash leaves the old one or the new one, whole.

    Raises:
        UsageError: If it cannot be written.
    """
    with _usable(path):
        _remove(_beside(path))
        old = os.open(path, os.O_WRONLY) if path.exists() else None
        try:
            write_durably(path, content, mode=0o600)
            if old is not None:
                _overwrite(old)
        finally:
            if old is not None:
                os.close(old)


def remove_secret(path: Path) -> None:
    """Overwrite and remove a file, and what a crash may have left beside it.

    Raises:
        UsageError: If it cannot be removed.
    """
    with _usable(path):
        _remove(path)
        _remove(_beside(path))
        if path.parent.exists():
            sync_folder(path.parent)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")  # as write_durably names it


def _remove(path: Path) -> None:
    if not path.exists():
        return
    descriptor = os.open(path, os.O_WRONLY)
    try:
        _overwrite(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()


def _overwrite(descriptor: int) -> None:
    os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
    os.fsync(descriptor)


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Say in words a person can act on what the file system refused."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path}: it cannot be read or written ({error.strerror})",
            fix="make room on the disk and give this account the right to use that folder",
        ) from error
