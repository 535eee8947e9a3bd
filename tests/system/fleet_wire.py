"""What a stranger sees of a fleet: packets on loopback, and the bytes in the server's files."""

import shutil
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

_HEADER, _LONGEST = 5, 2**14 + 2**8  # RFC 8446, section 5.2
_TYPES = range(20, 24)  # change cipher spec, alert, handshake, application data

needs_capture = pytest.mark.skipif(
    shutil.which("tshark") is None or shutil.which("dumpcap") is None,
    reason="tshark is not installed: apt-get install tshark",
)


@contextmanager
def captured(ports: Iterable[int], file: Path) -> Iterator[None]:
    """Write what passes over loopback, on some TCP ports, to a file while the block lasts."""
    wanted = " or ".join(f"tcp port {port}" for port in ports)
    command = ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", wanted, "-w", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 20
            while not file.exists() or not file.stat().st_size:
                if process.poll() is not None or time.monotonic() > end:
                    said = "" if process.stderr is None else process.stderr.read()
                    pytest.skip(f"no packets can be captured here: {said.strip()[:200]}")
                time.sleep(0.05)
            yield
            time.sleep(1.0)  # what the kernel still holds
        finally:
            process.send_signal(signal.SIGINT)
            if process.stderr is not None:
                process.stderr.read()


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction of one connection, put together again.

    Attributes:
        ports: From, to.
        content: Its bytes; only whole from its start.
        gaps: Bytes that were not captured.
    """

    ports: tuple[int, int]
    content: bytes = field(repr=False)
    gaps: int

    def plain_from(self) -> int | None:
        """Return where it stops to be TLS records; None if all of it is TLS."""
        at, content = 0, self.content
        while at + _HEADER <= len(content):
            kind, major, minor = content[at : at + 3]
            size = int.from_bytes(content[at + 3 : at + 5], "big")
            if kind not in _TYPES or major != 3 or minor not in range(1, 5) or size > _LONGEST:
                return at
            at += _HEADER + size
        rest = content[at:]
        return at if rest and rest[0] not in _TYPES else None


def streams(file: Path) -> list[Stream]:
    """Return what a capture holds, by connection and direction."""
    fields = ("tcp.stream", "tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.payload")
    command = ["tshark", "-n", "-r", str(file), "-Y", "tcp.len > 0", "-T", "fields"]
    for name in fields:
        command += ["-e", name]
    command += ["-o", "tcp.desegment_tcp_streams:false", "--disable-protocol", "tls"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    parts: dict[tuple[str, int, int], list[tuple[int, bytes]]] = defaultdict(list)
    for line in done.stdout.splitlines():
        stream, source, target, sequence, payload = line.split("\t")
        key = stream, int(source), int(target)
        parts[key].append((int(sequence), bytes.fromhex(payload)))
    return [
        Stream((source, target), *_joined(found)) for (_, source, target), found in parts.items()
    ]


def _joined(found: list[tuple[int, bytes]]) -> tuple[bytes, int]:
    """Put segments in their order; what was sent again counts once."""
    content, gaps = bytearray(), 0
    for sequence, payload in sorted(found):
        at = sequence - 1  # relative numbers start with 1
        if at > len(content):
            gaps += at - len(content)
            content += bytes(at - len(content))
        content[at : at + len(payload)] = payload
    return bytes(content), gaps


_KEY = 8
_WORD = np.arange(_KEY)


class Needles:
    """Bytes that nobody but their owner may see, by what they are.

    Looking for hundreds of them in hundreds of megabytes one by one takes minutes: eight bytes of
    each, those that say most, are looked for at once, the first two of them before the rest.

    Args:
        by_name: Several pieces of each, of at least eight bytes: a part is as bad as the whole.
    """

    def __init__(self, by_name: Mapping[str, tuple[bytes, ...]]) -> None:
        """Sort the pieces by how they begin."""
        self.by_name = dict(by_name)
        self._pieces: dict[int, list[tuple[str, bytes, int]]] = defaultdict(list)
        self._begins = np.zeros(1 << 16, np.bool_)
        for name, some in self.by_name.items():
            for piece in some:
                if len(piece) < _KEY:
                    raise ValueError(f"a piece of {name!r} is too short to be one")
                at = max(range(len(piece) - _KEY + 1), key=lambda at: _says(piece[at : at + _KEY]))
                key = piece[at : at + _KEY]
                self._pieces[int.from_bytes(key, "little")].append((name, piece, at))
                self._begins[int.from_bytes(key[:2], "little")] = True
        self._keys = np.array(sorted(self._pieces), np.uint64)

    def found_in(self, content: bytes) -> set[str]:
        """Return which of them stand in some bytes."""
        flat = np.frombuffer(content + bytes(_KEY), np.uint8)
        twos = flat[: len(content)] | flat[1 : len(content) + 1].astype(np.uint16) << 8
        starts = np.flatnonzero(self._begins[twos])
        found: set[str] = set()
        for at in range(0, len(starts), 1 << 16):
            some = starts[at : at + (1 << 16)]
            words = flat[some[:, None] + _WORD].view("<u8").ravel()
            for hit in np.flatnonzero(np.isin(words, self._keys)):
                for name, piece, before in self._pieces[int(words[hit])]:
                    start = int(some[hit]) - before
                    if start >= 0 and content.startswith(piece, start):
                        found.add(name)
        return found


def _says(key: bytes) -> int:
    """Return how much eight bytes say: how many differ, and whether they begin with something."""
    return len(set(key)) + 8 * (key[0] != 0) + 8 * (key[1] not in (0, key[0]))


def pieces(array: npt.NDArray[np.generic], length: int = 16) -> tuple[bytes, ...]:
    """Return pieces of an array as its bytes lie in memory: those that say something.

    Args:
        array: Any numbers.
        length: Numbers of a piece.
    """
    flat = np.ascontiguousarray(array).ravel()
    starts = range(0, max(1, len(flat) - length + 1), length)
    some = [flat[start : start + length] for start in starts]
    return tuple(part.tobytes() for part in some if np.count_nonzero(part) > length // 2)


def vector_pieces(vector: npt.NDArray[np.integer]) -> tuple[bytes, ...]:
    """Return pieces of an integer vector, in every form a program would hold it."""
    forms = (vector.astype(np.int32), vector.astype(np.int64), vector.astype("<f4"))
    return tuple(piece for form in forms for piece in pieces(form))


def list_pieces(numbers: Iterable[int]) -> tuple[bytes, ...]:
    """Return a list of small numbers as JSON and as the packed field of a protobuf message."""
    listed = list(numbers)
    told = ",".join(map(str, listed))
    spaced = ", ".join(map(str, listed))
    varints = b"".join(map(_varint, listed))
    signed = b"".join(_varint(2 * number) for number in listed)
    return (told.encode(), spaced.encode(), varints, signed, np.array(listed, "<i8").tobytes())


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def files_of(folder: Path, names: Iterable[str]) -> dict[Path, bytes]:
    """Return the content of all files that match, at any depth; one that vanishes is left out."""
    found: dict[Path, bytes] = {}
    for name in names:
        for path in folder.rglob(name):
            try:
                if path.is_file():
                    found[path] = path.read_bytes()
            except OSError:
                continue
    return found
