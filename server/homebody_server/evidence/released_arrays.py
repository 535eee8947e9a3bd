"""Digests of the released arrays that a run keeps on disk; the files are not trusted."""

import hashlib
import io
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from homebody_models.folder_files import read_bounded

_LARGEST: Final = 1 << 30
_BROKEN: Final = (
    *(OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, TypeError, OverflowError),
)
"""What numpy raises over a file that it did not write."""


def digests_of(path: Path, names: tuple[str, ...]) -> Mapping[str, str] | None:
    """Return the digest of arrays, as a ledger has it: of float32, little-endian.

    Args:
        path: An ``.npz`` file.
        names: Arrays of it.

    Returns:
        SHA-256 as hex, by name; without the arrays that are not there, empty where there is no
        file. None if it is damaged.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        content = read_bounded(path, _LARGEST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, in a file that is damaged
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return {
                    name: hashlib.sha256(arrays[name].astype("<f4").tobytes()).hexdigest()
                    for name in names
                    if name in arrays.files
                }
    except _BROKEN:
        return None
