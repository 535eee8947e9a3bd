"""Processes of a fleet: who they are, whether they live, and how they end.

A process is known by its id *and* the time it started, so that a number used again is never taken
for it. Every process of a fleet carries the folder in ``HOMEBODY_FLEET``, and what it starts
inherits that: nothing can get lost, even where the supervisor was killed.
"""

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from homebody_privacy.durable import write_durably
from homebody_privacy.environment import FLEET

PROC: Final = Path("/proc")
_START_FIELD: Final = 19  # of /proc/PID/stat after the name: clock ticks since boot
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Process:
    """A process, for as long as it lives.

    Attributes:
        pid: Its id.
        started: Its start, in clock ticks since boot.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the process of an id; None if there is none, or only its remains."""
        try:
            fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        if fields[0] in (b"Z", b"X"):
            return None
        return cls(pid, int(fields[_START_FIELD]))

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return Process.of(self.pid) == self

    @property
    def words(self) -> tuple[str, ...]:
        """Its command line; empty if it ended."""
        return tuple(os.fsdecode(word) for word in self._read("cmdline").split(b"\0")[:-1])

    @property
    def environ(self) -> dict[str, str]:
        """The environment it was started with; empty where that is not ours to read."""
        pairs = (part.partition(b"=") for part in self._read("environ").split(b"\0"))
        return {os.fsdecode(name): os.fsdecode(value) for name, eq, value in pairs if eq}

    def _read(self, name: str) -> bytes:
        try:
            return (PROC / str(self.pid) / name).read_bytes()
        except OSError:  # it ended, or belongs to someone else
            return b""

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal, if it is still alive; to its whole group where asked."""
        if not self.alive:
            return
        with suppress(ProcessLookupError, PermissionError):
            if group and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)


def everyone() -> Iterator[Process]:
    """Yield the machine's processes, but this one."""
    for entry in PROC.glob("[0-9]*"):
        process = Process.of(int(entry.name))
        if process is not None and process.pid != os.getpid():
            yield process


def of_folder(folder: Path) -> list[Process]:
    """Return the processes of a fleet's or node's folder, whoever started them."""
    return [process for process in everyone() if process.environ.get(FLEET) == str(folder)]


def end(processes: Iterable[Process], *, patience_s: float) -> list[Process]:
    """End processes: ask, wait, then kill. Return those that had to be killed.

    Args:
        processes: Any; those that ended already are left out.
        patience_s: How long to wait for them to end by themselves.
    """
    waiting = [process for process in processes if process.alive]
    for process in waiting:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while waiting and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        waiting = [process for process in waiting if process.alive]
    for process in waiting:
        process.send(signal.SIGKILL)
    while any(process.alive for process in waiting):  # a killed process ends
        time.sleep(_POLL_S)
    return waiting


def remember(file: Path, process: Process) -> None:
    """Write down a process."""
    content = json.dumps({"pid": process.pid, "started": process.started}).encode()
    write_durably(file, content, mode=0o600)


def recall(file: Path) -> Process | None:
    """Return the process that was written down, if it still lives."""
    try:
        values = json.loads(file.read_bytes())
        process = Process(int(values["pid"]), int(values["started"]))
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return process if process.alive else None
