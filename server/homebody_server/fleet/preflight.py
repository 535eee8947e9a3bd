"""``homebody fleet preflight``: everything that would keep a fleet or a node from running well."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from homebody_privacy.errors import HomebodyError

from . import check_approvals, check_certificates, check_files, check_machine
from .finding import Finding, wrong_file
from .guard import Side, write_guard
from .layout import FleetPaths, NodePaths, Versions
from .processes import of_folder
from .roles import fleet_roles, node_roles


def examine(
    paths: FleetPaths | NodePaths,
    *,
    now: dt.datetime | None = None,
    installed: Versions | None = None,
    least_free_bytes: int = check_machine.LEAST_FREE_BYTES,
) -> list[Finding]:
    """Look at everything and return what was found, good or bad; nothing is changed.

    Args:
        paths: The folder.
        now: Time, UTC; the clock's by default.
        installed: Versions; those installed by default.
        least_free_bytes: Free disk to ask for.
    """
    moment, versions = now or dt.datetime.now(dt.UTC), installed or Versions.installed()
    parts = (
        _fleet(paths, moment, versions)
        if isinstance(paths, FleetPaths)
        else _node(paths, moment, versions)
    )
    found = [finding for part in parts for finding in _kept(part)]
    closed = all(finding.check != "rights" or not finding.exit_code for finding in found)
    return [
        *(finding for finding in found if closed or finding.check != "files"),  # the same, again
        *check_machine.disk(paths.path, least_free_bytes),
    ]


def repair(paths: FleetPaths | NodePaths) -> None:
    """Write the guards anew and take others' rights away; keys stay as they are."""
    if isinstance(paths, FleetPaths):
        _close(paths)
        write_guard(paths.path / "guard", "server")
    for node in paths.nodes() if isinstance(paths, FleetPaths) else (paths,):
        _close(node)
        write_guard(node.path / "guard", "client")


def _close(paths: FleetPaths | NodePaths) -> None:
    paths.path.chmod(0o700)
    for file in paths.secrets:
        if file.exists():
            file.chmod(0o600)


_Parts = list[Iterator[Finding]]
_Guards = list[tuple[Path, Side]]


def _fleet(paths: FleetPaths, now: dt.datetime, installed: Versions) -> _Parts:
    fleet, roles, nodes = paths.read(), fleet_roles(paths), paths.nodes()
    secrets = [*paths.secrets, *(file for node in nodes for file in node.secrets)]
    sides: _Guards = [(paths.path / "guard", "server")]
    sides += [(node.path / "guard", "client") for node in nodes]
    return [
        check_files.rights([paths.path, *(node.path for node in nodes)], secrets),
        check_files.guards(sides, f"homebody fleet preflight {paths.path} --repair"),
        check_certificates.fleet_certificates(paths, now),
        check_files.fleet_versions(paths, installed),
        check_files.database(paths),
        check_approvals.approvals(paths, now),
        check_machine.ports(roles),
        check_machine.exposure(fleet.host),
        check_machine.strays(
            paths.path, paths.database, fleet.port, paths.path / "pids" / "superlink.json"
        ),
        check_machine.telemetry(of_folder(paths.path), roles),
        check_machine.clock(fleet.address, paths.path / "ca.crt"),
    ]


def _node(paths: NodePaths, now: dt.datetime, installed: Versions) -> _Parts:
    roles = node_roles(paths)
    again = f"homebody fleet preflight {paths.path} --repair"
    return [
        check_files.rights([paths.path], paths.secrets),
        check_files.guards([(paths.path / "guard", "client")], again),
        check_certificates.node_certificates(paths, now),
        check_files.node_versions(paths, installed),
        check_machine.ports(roles),
        check_machine.telemetry(of_folder(paths.path), roles),
        check_machine.clock(paths.runtime().server, paths.path / "ca.crt"),
    ]


def _kept(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield a part's findings; a file that cannot be read at all is the last of them."""
    try:
        yield from findings
    except HomebodyError as error:
        yield wrong_file("files", str(error), why="the fleet cannot start", fix=error.fix)
