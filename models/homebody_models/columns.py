"""Columns of events too long for memory: written block by block, read block by block.

A column of up to ``LONG`` entries is an array like any other. A longer one goes to a file without a
name in the system's folder for temporary files, which the system removes with the process, however
that ends, and is mapped from there read-only: a page of it takes memory only while it is read.
"""

import mmap
import tempfile
from collections.abc import Iterator
from typing import IO, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

LONG: Final = 1 << 22
"""Entries from which on a column is kept in a file: 16 MB of items."""

_BLOCK: Final = 1 << 20  # entries read at a time
_SPAN: Final = 1 << 18  # events whose devices are worked on at a time

_Kind = TypeVar("_Kind", bound=np.generic)


class ColumnWriter(Generic[_Kind]):
    """Puts a column together from blocks whose number is not known beforehand.

    Examples:
        >>> writer = ColumnWriter(np.dtype(np.int32))
        >>> writer.append(np.array([1, 2])); writer.append(np.array([3]))
        >>> writer.finish()
        array([1, 2, 3], dtype=int32)
    """

    def __init__(self, kind: "np.dtype[_Kind]", *, long: int = LONG) -> None:
        """Start an empty column of ``kind``; more than ``long`` entries go to a file."""
        self._kind, self._long = kind, long
        self._blocks: list[npt.NDArray[_Kind]] = []
        self._file: IO[bytes] | None = None
        self._length = 0

    def append(self, block: npt.ArrayLike) -> None:
        """Add entries behind those before.

        Raises:
            OSError: If the folder for temporary files has no room for them.
        """
        own = np.ascontiguousarray(block, dtype=self._kind)
        self._length += len(own)
        self._blocks.append(own)
        if self._length > self._long:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - finish closes it
            for each in self._blocks:
                _write(self._file, each)
            self._blocks = []

    def finish(self) -> npt.NDArray[_Kind]:
        """Return the column; nothing can be added after it. A long one cannot be written to."""
        if self._file is None:
            return np.concatenate([np.zeros(0, self._kind), *self._blocks])
        with self._file as file:  # the mapping keeps what is in it
            mapped = np.memmap(file, dtype=self._kind, mode="r", shape=(self._length,))
        return np.asarray(mapped)


def _write(file: IO[bytes], block: npt.NDArray[np.generic]) -> None:
    left = block.data.cast("B") if block.size else memoryview(b"")
    while left:
        left = left[file.write(left) :]


def blocks(column: npt.NDArray[_Kind], size: int = _BLOCK) -> Iterator[npt.NDArray[_Kind]]:
    """Yield the parts of a column in order; a mapped one is let go of after each part.

    Args:
        column: Array whose first axis is cut.
        size: Entries of a part, at least 1; the last one may be shorter.
    """
    for start in range(0, len(column), size):
        yield column[start : start + size]
        release(column)


def spans(ptr: npt.NDArray[np.int64], size: int = _SPAN) -> Iterator[slice]:
    """Yield neighbouring devices that together have at most ``size`` events, or one with more.

    Args:
        ptr: int64 of shape ``(devices + 1,)``: device u owns events ``ptr[u]:ptr[u + 1]``.
        size: Events of a part, at least 1; as many devices without events may be in one.

    Examples:
        >>> [(part.start, part.stop) for part in spans(np.array([0, 2, 3, 9, 10]), 4)]
        [(0, 2), (2, 3), (3, 4)]
    """
    start, devices = 0, len(ptr) - 1
    while start < devices:
        fitting = int(np.searchsorted(ptr, ptr[start] + size, side="right")) - 1
        stop = min(max(fitting, start + 1), start + size, devices)
        yield slice(start, stop)
        start = stop


def release(column: npt.NDArray[np.generic]) -> None:
    """Take the pages of a mapped column out of memory; they are read again when needed.

    Nothing happens to an array that is not mapped from a file, or may be written to.
    """
    owner: object = column
    mapped = False
    while isinstance(owner, np.ndarray):
        mapped = mapped or (isinstance(owner, np.memmap) and owner.mode == "r")
        owner = owner.base
    if mapped and isinstance(owner, mmap.mmap) and hasattr(owner, "madvise"):
        owner.madvise(mmap.MADV_DONTNEED)
