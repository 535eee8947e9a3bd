"""The file behind ``join_columns``: one entry for the joins of a round, appended and never changed.

A process that is killed leaves every entry that was appended, and at most a part of one more, which
counts for nothing: nobody was told of those joins. A power cut may take more. Each entry is chained
to all before it by a hash, so that a damaged file is refused; nothing says that a file is missing.
"""

import fcntl
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

from homebody_privacy.errors import IntegrityError, UsageError

_LABEL: Final = b"homebody/joins/v1\0"
_SIZES: Final = struct.Struct("<IQ")  # bytes of the rules, and of the devices
_CHECK: Final = 8  # bytes of the hash over the sizes: they say where a write was cut short
_HASH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What devices joined, all alike. Secret, but for what the config says.

    Attributes:
        run: Name of the run.
        terms: ``Allowance.terms`` of the run.
        rounds: Rounds of the run.
        first: Squared loss of a device's first join of the run.
        later: Squared loss of each later one.
        number: The round.
        model: SHA-256 of the broadcast model, as hex.
    """

    run: str
    terms: str
    rounds: int
    first: float
    later: float
    number: int
    model: str


class JoinLog:
    """An open file of joins. Made by ``open`` alone.

    Args:
        file: The open file, unbuffered.
        path: Its name, for messages.
        devices: Devices of the population.
    """

    __slots__ = ("_devices", "_end", "_file", "_head", "_path")

    def __init__(self, file: BinaryIO, path: Path, devices: int) -> None:
        """Keep what is open."""
        self._file = file
        self._path = path
        self._devices = devices
        self._head = sha256(_LABEL + struct.pack("<Q", devices)).digest()
        self._end = 0

    @classmethod
    def open(cls, path: Path, devices: int) -> Self:
        """Open a file, made with mode 0600 at the first use; one process at a time.

        Args:
            path: The file; its folder must be there.
            devices: Devices of the population.

        Raises:
            UsageError: If another process has it open.
        """
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UsageError(
                f"{path}: another process keeps it locked", fix="wait until that process has ended"
            ) from error
        return cls(file, path, devices)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def entries(self) -> Iterator[tuple[Occasion, npt.NDArray[np.int64]]]:
        """Give each entry from the first, its devices ascending; cut off what a killed write left.

        Raises:
            IntegrityError: If an entry is not what was written.
        """
        size = os.fstat(self._file.fileno()).st_size
        with os.fdopen(os.dup(self._file.fileno()), "rb") as reader:
            reader.seek(0)
            while (entry := self._next(reader, size)) is not None:
                yield entry
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def append(self, occasion: Occasion, devices: npt.NDArray[np.int64]) -> None:
        """Keep an entry; the operating system has it when this returns.

        Args:
            occasion: What was joined.
            devices: Who joined, without repeats, shape ``(n,)``.

        Raises:
            OSError: If it cannot be written; the file is as it was.
        """
        rules, members = json.dumps(asdict(occasion)).encode(), self._packed(devices)
        sizes = _SIZES.pack(len(rules), len(members))
        head = sha256(self._head + sizes + rules + members).digest()
        left = memoryview(b"".join((sizes, self._check(sizes), rules, members, head)))
        end = self._end + len(left)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            raise
        self._head, self._end = head, end

    def _next(self, reader: BinaryIO, size: int) -> tuple[Occasion, npt.NDArray[np.int64]] | None:
        """Return the next entry; None at the end, or where the last write was cut short."""
        sizes, check = reader.read(_SIZES.size), reader.read(_CHECK)
        if len(check) < _CHECK:
            return None
        if check != self._check(sizes):
            raise self._damaged()
        of_rules, of_members = _SIZES.unpack(sizes)
        end = self._end + _SIZES.size + _CHECK + of_rules + of_members + _HASH
        if end > size:
            return None
        body = reader.read(of_rules + of_members)
        head = sha256(self._head + sizes + body).digest()
        if head != reader.read(_HASH):
            raise self._damaged()
        try:
            occasion = Occasion(**json.loads(body[:of_rules]))
        except (TypeError, ValueError) as error:
            raise self._damaged() from error
        self._head, self._end = head, end
        return occasion, self._unpacked(body[of_rules:])

    def _check(self, sizes: bytes) -> bytes:
        return sha256(self._head + sizes).digest()[:_CHECK]

    def _packed(self, devices: npt.NDArray[np.int64]) -> bytes:
        """Return device numbers as bytes: a list of them, or a bit for each of the population."""
        if 4 * len(devices) < self._bits:
            return np.sort(devices).astype("<u4").tobytes()
        present = np.zeros(self._devices, np.bool_)
        present[devices] = True
        return np.packbits(present).tobytes()

    def _unpacked(self, members: bytes) -> npt.NDArray[np.int64]:
        if len(members) < self._bits:
            return np.frombuffer(members, "<u4").astype(np.int64)
        present = np.unpackbits(np.frombuffer(members, np.uint8), count=self._devices)
        return np.flatnonzero(present).astype(np.int64)

    @property
    def _bits(self) -> int:
        return -(-self._devices // 8)

    def _damaged(self) -> IntegrityError:
        return IntegrityError(f"{self._path}: it is damaged, or no record of this population")
