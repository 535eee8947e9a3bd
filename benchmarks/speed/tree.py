"""Processor seconds and memory of a process with all its descendants, from /proc if there is one.

Without /proc the process itself and its finished children are counted: enough for one process, too
little for a peer of several.
"""

import os
import resource
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_EVERY_S: Final = 0.5  # looking takes time of the processor too


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    ticks: int
    pages: int


def cpu_seconds(root: int | None = None) -> float:
    """Return processor seconds of a process, its descendants and the children they waited for.

    Args:
        root: Number of the process; None for this one.
    """
    root = os.getpid() if root is None else root
    found = _tree(root)
    if found:
        return sum(process.ticks for process in found.values()) / _TICKS
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def memory_bytes(root: int) -> int:
    """Return resident bytes of a process and its descendants; a shared page counts in each."""
    return sum(process.pages for process in _tree(root).values()) * _PAGE


def descendants(root: int) -> list[int]:
    """Return the numbers of a process and of all below it; empty where there is no /proc."""
    return list(_tree(root))


def _tree(root: int) -> dict[int, _Process]:
    """Return a process and all below it, by number."""
    processes = _processes()
    if root not in processes:
        return {}
    below: dict[int, list[int]] = {}
    for number, process in processes.items():
        below.setdefault(process.parent, []).append(number)
    found, left = {}, [root]
    while left:
        number = left.pop()
        found[number] = processes[number]
        left += below.get(number, [])
    return found


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in _PROC.glob("[0-9]*") if _PROC.exists() else ():
        try:
            text = (folder / "stat").read_text("utf-8", "replace")
        except OSError:  # it ended meanwhile
            continue
        # The name stands in brackets and may hold blanks: what follows it does not.
        fields = text.rpartition(")")[2].split()
        parent, times, pages = int(fields[1]), fields[11:15], int(fields[21])
        found[int(folder.name)] = _Process(parent, sum(map(int, times)), pages)
    return found


@dataclass(slots=True)
class Watch:
    """Remembers the most memory a process tree held at a time.

    Attributes:
        root: Number of the process.
        peak: Bytes.
    """

    root: int
    peak: int = 0
    _done: Event = field(default_factory=Event)

    def start(self) -> Thread:
        """Look again and again until ``stop``."""
        thread = Thread(target=self._look, daemon=True)
        thread.start()
        return thread

    def stop(self) -> int:
        """Look no more; return the peak."""
        self._done.set()
        return self.peak

    def _look(self) -> None:
        while not self._done.wait(_EVERY_S):
            self.peak = max(self.peak, memory_bytes(self.root))


def own_peak() -> int:
    """Return the most bytes this process held resident so far; 0 where there is no /proc."""
    status = _PROC / "self" / "status"
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
