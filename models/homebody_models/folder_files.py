"""Read and write the files of a signed folder: bounded when read, whole or absent when written."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path


def read_bounded(path: Path, most: int) -> bytes:
    """Return a regular file of at most ``most`` bytes, opened once and not through a link."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe would wait
    descriptor = os.open(path, os.O_RDONLY | flags)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path.name} is no regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path.name} is longer than {most} bytes")
    return data


def write_whole(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files beside ``folder`` and rename them into place, each step on disk first."""
    import shutil  # noqa: PLC0415 a device that only reads starts sooner without both
    import tempfile  # noqa: PLC0415

    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, data in contents.items():
            with (temporary / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o755)  # a bundle is public; mkdtemp makes private folders
        _sync_folder(temporary)
        temporary.rename(folder)
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already once it was renamed


def _sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
