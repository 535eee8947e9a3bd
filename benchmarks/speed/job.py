"""What a worker is asked to do and what it answers: JSON files between processes.

Every system runs in a process of its own, some with a Python of their own, so this file needs numpy
alone.
"""

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tree import cpu_seconds, own_peak
from world import CHECKED, TIMED, Rates, World

JOB: Final = "HOMEBODY_SPEED_JOB"
"""Environment variable with the path of a worker's job."""

_PARTS: Final = ("ptr", "items", "table", "users")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A worker's task.

    Attributes:
        system: Name of the system; a worker may know several.
        folder: Where the answer goes.
        data: Where the world lies.
        check: Train round 0 at the rates of the check, without noise, and keep the sum; else time.
        cohort: Devices of a round.
        warm: Rounds before the clock starts.
        rounds: Rounds timed.
        workers: Processes or threads.
    """

    system: str
    folder: str
    data: str
    check: bool
    cohort: int
    warm: int = 0
    rounds: int = 1
    workers: int = 1

    @property
    def rates(self) -> Rates:
        """Learning rates of the local epoch."""
        return CHECKED if self.check else TIMED

    @property
    def all_rounds(self) -> int:
        """Rounds in all."""
        return self.warm + self.rounds

    def world(self) -> World:
        """Return the world, mapped from its files; none of it can be written."""
        return World(*(load(Path(self.data) / f"{name}.npy", "r") for name in _PARTS))

    def own_users(self) -> npt.NDArray[np.float32]:
        """Return user vectors that can be written, mapped from a file all processes share."""
        return load(Path(self.folder) / "users.npy", "r+")

    def write(self) -> Path:
        """Write the job to its folder, with user vectors that can be written."""
        file = Path(self.folder) / "job.json"
        shutil.copy(Path(self.data) / "users.npy", Path(self.folder) / "users.npy")
        file.write_text(json.dumps(asdict(self)), "utf-8")
        return file


def load(file: Path, mode: str) -> npt.NDArray[Any]:
    """Return an array, mapped in a mode of numpy."""
    found: npt.NDArray[Any] = np.load(file, mmap_mode=mode, allow_pickle=False)  # type: ignore[call-overload]
    return found


def save_world(world: World, folder: Path) -> None:
    """Write a world to files that every worker maps."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PARTS:
        np.save(folder / f"{name}.npy", getattr(world, name), allow_pickle=False)


def read_job() -> Job:
    """Return the job of this worker."""
    return Job(**json.loads(Path(os.environ[JOB]).read_text("utf-8")))


@dataclass(slots=True)
class Clock:
    """Times rounds: wall seconds of each, seconds of the CPU of the whole process tree in all.

    Attributes:
        warm: Rounds that are not timed.
        root: Process whose tree is counted; None for this one.
        walls: Seconds of each timed round.
    """

    warm: int
    root: int | None = None
    walls: list[float] = field(default_factory=list)
    _seen: int = 0
    _since: float = 0.0
    _busy: float = 0.0
    _load: float = 0.0

    def start(self) -> None:
        """Say that the first round begins."""
        self._seen = 0
        self._begin()

    def lap(self) -> None:
        """Say that a round ended and the next begins."""
        now = time.perf_counter()
        self._seen += 1
        if self._seen > self.warm:
            self.walls.append(now - self._since)
            self._since = now
        else:
            self._begin()

    def _begin(self) -> None:
        self._load = os.getloadavg()[0]
        self._busy = cpu_seconds(self.root)
        self._since = time.perf_counter()

    def found(self) -> dict[str, Any]:
        """Return what was measured since the last round that was not timed."""
        return {
            "walls": self.walls,
            "cpu_s": cpu_seconds(self.root) - self._busy,
            "load": round(self._load, 2),
        }


def answer(
    job: Job,
    found: dict[str, Any],
    total: npt.NDArray[np.floating] | None = None,
    libraries: tuple[str, ...] = (),
) -> None:
    """Write a worker's answer.

    Args:
        job: What was asked.
        found: What was measured.
        total: The sum of the clipped updates, where the job is a check.
        libraries: What the system is made of: their versions are kept.
    """
    folder = Path(job.folder)
    if total is not None:
        np.save(folder / "sum.npy", np.asarray(total, np.float64), allow_pickle=False)
    versions = {name: version(name) for name in ("numpy", *libraries)}
    write_answer(folder, {**found, "versions": versions})


def write_answer(folder: Path, found: dict[str, Any]) -> None:
    """Write what a worker found, with the most memory it held itself."""
    (folder / "answer.json").write_text(json.dumps({**found, "own_peak": own_peak()}), "utf-8")


def read_section() -> dict[str, Any]:
    """Return what a section's worker is asked: ``section``, ``quick`` and ``folder``."""
    asked: dict[str, Any] = json.loads(Path(os.environ[JOB]).read_text("utf-8"))
    return asked
