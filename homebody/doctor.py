"""``homebody doctor``: what this machine has, and what would get in the way."""

import json
import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from homebody_privacy.environment import DATA, QUIET
from homebody_privacy.errors import UsageError

_PACKAGES = (
    "homebody",
    "numpy",
    "cryptography",
    "flwr",
    "torch",
    "opacus",
    "dp-accounting",
    "ray",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the examination.

    Attributes:
        what: What was looked at.
        found: What was found.
        ok: Whether it is as it should be.
        fix: What to do about it; "" where nothing.
    """

    what: str
    found: str
    ok: bool
    fix: str = ""


def examine(proc: Path = Path("/proc")) -> list[Finding]:
    """Look at versions, cores, telemetry and stray servers.

    Args:
        proc: Where the system lists its processes.
    """
    return [
        Finding(what="Python", found=sys.version.split()[0], ok=sys.version_info >= (3, 11)),
        *(_package(name) for name in _PACKAGES),
        Finding(what="cores", found=str(os.cpu_count() or 1), ok=True),
        _data_folder(),
        _telemetry(),
        _superlinks(proc),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(what=name, found=version(name), ok=True)
    except PackageNotFoundError:
        return Finding(what=name, found="not installed (optional)", ok=name != "homebody")


def _data_folder() -> Finding:
    folder = os.environ.get(DATA)
    if folder is None:
        return Finding(what=DATA, found="not set (MovieLens is not available)", ok=True)
    exists = Path(folder).is_dir()
    return Finding(
        what=DATA,
        found="a folder" if exists else "not a folder",
        ok=exists,
        fix="" if exists else f"set {DATA} to the folder of the data sets",
    )


def _telemetry() -> Finding:
    loud = [name for name, value in QUIET.items() if os.environ.get(name) != value]
    return Finding(
        what="telemetry",
        found="off" if not loud else f"on: {', '.join(loud)}",
        ok=not loud,
        fix="" if not loud else "start Flower through homebody, which switches it off",
    )


def _superlinks(proc: Path) -> Finding:
    """Find Flower servers that were left running: a stray one serves any user of the machine."""
    stray = []
    for command in proc.glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:  # it ended, or it is not ours to read
            continue
        if any(Path(os.fsdecode(word)).name == "flower-superlink" for word in words[:2]):
            stray.append(command.parent.name)
    return Finding(
        what="stray SuperLink",
        found="none" if not stray else f"process {', '.join(sorted(stray))}",
        ok=not stray,
        fix="" if not stray else f"end it: kill {' '.join(sorted(stray))}",
    )


def doctor(
    output: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Examine this machine: versions, cores, telemetry, stray Flower servers."""
    findings = examine()
    if output == "json":
        values = [{"what": f.what, "found": f.found, "ok": f.ok, "fix": f.fix} for f in findings]
        typer.echo(json.dumps({"ok": all(f.ok for f in findings), "findings": values}))
    elif output == "text":
        table = Table(show_header=False, box=None)
        for finding in findings:
            table.add_row("ok" if finding.ok else "!!", finding.what, finding.found, finding.fix)
        Console().print(table)
    else:
        raise UsageError(f"--format must be text or json, got {output!r}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
