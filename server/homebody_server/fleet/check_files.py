"""Preflight of what lies in the folder: rights, the guard, versions, the database."""

import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib.metadata import requires
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from . import guard
from .finding import Finding, fine, machine, policy, warning, wrong_file
from .layout import FleetPaths, NodePaths, Versions
from .registry import Registry


def rights(folders: Iterable[Path], secrets: Iterable[Path]) -> Iterator[Finding]:
    """Look at who may read what is secret."""
    open_to_others = [path for path in (*folders, *secrets) if path.exists() and _others(path)]
    missing = [path for path in secrets if not path.exists()]
    for path in open_to_others:
        mode = "700" if path.is_dir() else "600"
        yield policy(
            "rights",
            f"{path}: others than the owner have rights to it",
            why="it holds keys, or leads to them",
            fix=f"chmod {mode} {path}, and make the key anew if others may have read it",
        )
    for path in missing:
        yield wrong_file("rights", f"{path} is missing", why="nothing can start", fix="restore it")
    if not open_to_others and not missing:
        yield fine("rights", "keys and folders are their owner's alone")


def guards(folders: Iterable[tuple[Path, guard.Side]], fix: str) -> Iterator[Finding]:
    """Look whether a run could bring its own code."""
    broken = False
    for folder, side in folders:
        for fault in guard.faults(folder, side):
            broken = True
            yield policy(
                "guard",
                f"{folder}: {fault}",
                why="a run could bring its own code, or none could start",
                fix=fix,
            )
    if not broken:
        yield fine("guard", "a run cannot bring its own code")


def fleet_versions(paths: FleetPaths, installed: Versions) -> Iterator[Finding]:
    """Compare versions: Flower's range, the folder's, and those nodes said they had."""
    recorded = paths.read().versions
    yield from _own_versions(recorded, installed)
    if Version(installed.flwr) < Version(recorded.flwr):
        yield wrong_file(
            "database",
            f"state.db was opened by flwr {recorded.flwr}, installed is {installed.flwr}",
            why="Flower changes its database on the way up, and there is no way back",
            fix=f'pip install "flwr=={recorded.flwr}", or move state.db away and register anew',
        )
    for name, record in Registry(paths.path / "registry").records().items():
        if record.revoked or record.versions in (None, installed):
            continue
        theirs = record.versions or installed
        yield warning(
            "versions",
            f"{name} has homebody {theirs.homebody} and flwr {theirs.flwr}",
            why="approvals bind the installed wheel; a node of another one may refuse a run",
            fix="install the same wheel, then register the node's new request",
        )


def node_versions(node: NodePaths, installed: Versions) -> Iterator[Finding]:
    """Compare versions of a node on its own machine."""
    yield from _own_versions(node.runtime().versions, installed)


def database(paths: FleetPaths) -> Iterator[Finding]:
    """Look whether the installed Flower knows the database's schema."""
    if not paths.database.exists():
        yield fine("database", "state.db will be new")
        return
    try:
        uri = f"file:{paths.database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=2.0)) as connection:
            found = {
                row[0] for row in connection.execute("SELECT version_num FROM alembic_version")
            }
    except sqlite3.Error as error:
        yield wrong_file(
            "database",
            f"state.db cannot be read: {error}",
            why="the SuperLink will not start",
            fix="restore it from a backup, or move it away: nodes are then registered anew",
        )
        return
    unknown = sorted(found - _revisions())
    if unknown:
        yield wrong_file(
            "database",
            f"state.db has a schema of another flwr ({', '.join(unknown)})",
            why="the SuperLink will not start, or change it for ever",
            fix="install the flwr that made it, or move it away: nodes are then registered anew",
        )
    else:
        yield fine("database", "state.db is of the installed flwr, or an older one")


def tested_flwr() -> SpecifierSet:
    """Return the versions of Flower homebody is tested with, as the installed wheel says."""
    found = (Requirement(line) for line in requires("homebody") or ())
    return next(r.specifier for r in found if r.name == "flwr" and not r.extras)


def _own_versions(recorded: Versions, installed: Versions) -> Iterator[Finding]:
    tested = tested_flwr()
    if Version(installed.flwr) not in tested:
        yield machine(
            "versions",
            f"flwr {installed.flwr} is installed, homebody is tested with {tested}",
            why="Flower changes its command line and private modules within a minor version",
            fix=f'pip install "flwr{tested}"',
        )
    if recorded != installed:
        yield warning(
            "versions",
            f"the folder was made with homebody {recorded.homebody} and flwr {recorded.flwr}, "
            f"installed are {installed.homebody} and {installed.flwr}",
            why="an older Flower cannot open the newer one's database again",
            fix="back the folder up before the fleet goes up",
        )
    else:
        yield fine("versions", f"homebody {installed.homebody}, flwr {installed.flwr}")


def _revisions() -> set[str]:
    """Return the revisions of the schema that the installed Flower knows."""
    folder = files("flwr.supercore.state").joinpath("alembic", "versions")
    found = set()
    for script in folder.iterdir():
        if script.name.startswith("rev_"):
            for line in script.read_text("utf-8").splitlines():
                if line.startswith("revision"):
                    found.add(line.partition("=")[2].strip().strip("\"'"))
    return found


def _others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.lstat().st_mode) & 0o077)
