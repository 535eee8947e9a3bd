"""Where compiled kernels are kept between processes: a folder for each state of their sources.

numba keeps a compiled function beside its file and takes it again while that file is as it was.
What the function calls from other files it does not look at, so that after a change there an old
kernel would run. Here the folder's name is a digest of all the sources together.
"""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_SOURCES: Final = Path(__file__).parent
_DIGITS: Final = 16
_KEPT: Final = 3


def settle(base: Path | None = None) -> str:
    """Have numba keep kernels in the folder of these sources, and return its path.

    A folder that ``NUMBA_CACHE_DIR`` names is left to whoever named it. Where the folder cannot be
    made, numba keeps kernels beside their files, or nowhere.

    Args:
        base: Where the folders are; None for the person's own cache.
    """
    import numba  # noqa: PLC0415 - reading a digest needs no compiler

    config: Any = numba.config  # its settings are made at run time

    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return named
    base = base or _own_cache()
    folder = base / sources_digest()
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)
        _drop_old(base)
        config.CACHE_DIR = str(folder)
    return str(config.CACHE_DIR)


def sources_digest() -> str:
    """Return what stands for the sources of all kernels, 16 hex digits."""
    digest = hashlib.sha256()
    for file in sorted(_SOURCES.rglob("*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(_SOURCES)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:_DIGITS]


def _own_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "homebody" / "kernels"


def _drop_old(base: Path) -> None:
    """Remove all but the folders used last: a process that runs has loaded its kernels."""
    folders = sorted(base.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for old in folders[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
