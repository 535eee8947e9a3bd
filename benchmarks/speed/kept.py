"""What is kept of a run: the table, and each section, with when, on what and at what load."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

SCHEMA: Final = "speed/1"
RESULTS: Final = Path(__file__).parents[1] / "results" / "speed.json"
_LIBRARIES: Final = ("homebody", "numpy", "numba", "torch", "flwr")

Part = dict[str, Any]


@dataclass(slots=True)
class Kept:
    """The figures of one file.

    Attributes:
        table: The table of systems, or empty.
        sections: Other figures, by the section's name.
    """

    table: Part = field(default_factory=dict)
    sections: dict[str, Part] = field(default_factory=dict)
    _new: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Return what a file holds.

        Raises:
            FileNotFoundError: If nothing was kept yet.
            ValueError: If it has another schema.
        """
        found = json.loads(file.read_text("utf-8"))
        if found.get("schema") != SCHEMA:
            raise ValueError(f"{file.name} has schema {found.get('schema')!r}, not {SCHEMA!r}")
        return cls(found["table"], found["sections"])

    @classmethod
    def begin(cls, file: Path) -> Self:
        """Return what a file holds, to be brought up to date; empty where there is none."""
        return cls.read(file) if file.exists() else cls()

    @property
    def rows(self) -> Sequence[Part]:
        """The systems of the table."""
        found: list[Part] = self.table.get("rows", [])
        return found

    def take_table(self, rows: Sequence[Part], size: int) -> None:
        """Put a new table in place of the old: its ratios are those of one run."""
        self.table = {**stamp(), "cohort": size, "rows": list(rows)}
        self._new.add("table")

    def take_section(self, name: str, found: Part, elsewhere: str = "") -> None:
        """Put new figures of a section in place of the old.

        Args:
            name: The section.
            found: Its figures.
            elsewhere: The GPU they were measured on, where that is not in this machine.
        """
        self.sections[name] = {**stamp(), **found}
        if elsewhere:
            self.sections[name]["machine"] = {"gpu": elsewhere}
        self._new.add(name)

    def fresh(self) -> "Kept":
        """Return what was measured since ``begin``."""
        return Kept(
            self.table if "table" in self._new else {},
            {name: part for name, part in self.sections.items() if name in self._new},
        )

    def write(self, file: Path) -> None:
        """Write the file."""
        file.parent.mkdir(exist_ok=True)
        found = {"schema": SCHEMA, "table": self.table, "sections": self.sections}
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")


def stamp() -> Part:
    """Return when, of which commit and on what something was measured: no name of the machine."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
    }


def machine() -> Part:
    """Return what a figure depends on."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": processor(),
        "gpu": gpu(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "versions": {name: version(name) for name in _LIBRARIES if find_spec(name)},
    }


def processor() -> str:
    """Return the processor's name, family and model: the name alone may say little in a cloud."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return platform.processor() or platform.machine()
    lines = file.read_text("utf-8", "replace").split("\n\n")[0].splitlines()
    facts = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if "model name" not in facts:
        return platform.machine()
    return f"{facts['model name']}, family {facts['cpu family']} model {facts['model']}"


def gpu() -> str:
    """Return the first GPU's name, empty without one."""
    import torch  # noqa: PLC0415 - seconds, and needed here alone

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""


def commit() -> str:
    """Return the commit in short, ``+`` after it if files it tracks were changed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        name = _said([*git, "rev-parse", "--short", "HEAD"])
        changed = _said([*git, "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + "+" * bool(changed)


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own arguments
    return done.stdout.strip()
