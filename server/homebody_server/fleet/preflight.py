"""``homebody fleet preflight``: everything that would keep a fleet or a node from running well."""

import datetime as dt
from collections.abc import Iterator

from homebody_privacy.errors import HomebodyError

from . import check_certificates, check_files, check_machine
from .finding import Finding, wrong_file
from .guard import write_guard
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
    return [*_kept(parts), *check_machine.disk(paths.path, least_free_bytes)]


def repair(paths: FleetPaths | NodePaths) -> None:
    """Write the guards anew and take others' rights away; keys stay as they are."""
    own = [(paths.path, "server" if isinstance(paths, FleetPaths) else "client")]
    nodes = paths.nodes() if isinstance(paths, FleetPaths) else (paths,)
    if isinstance(paths, FleetPaths):
        own += [(node.path, "client") for node in nodes]
        _close(paths)
    for node in nodes:
        _close(node)
    for folder, side in own:
        write_guard(folder / "guard", "server" if side == "server" else "client")


def _close(paths: FleetPaths | NodePaths) -> None:
    paths.path.chmod(0o700)
    for file in paths.secrets:
        if file.exists():
            file.chmod(0o600)


def _fleet(paths: FleetPaths, now: dt.datetime, installed: Versions) -> Iterator[Finding]:
    fleet, roles, nodes = paths.read(), fleet_roles(paths), paths.nodes()
    secrets = [*paths.secrets, *(file for node in nodes for file in node.secrets)]
    yield from check_files.rights([paths.path, *(node.path for node in nodes)], secrets)
    yield from check_files.guards(
        [
            (paths.path / "guard", "server"),
            *((node.path / "guard", "client") for node in nodes),
        ],
        f"homebody fleet preflight {paths.path} --repair",
    )
    yield from check_certificates.fleet_certificates(paths, now)
    yield from check_files.fleet_versions(paths, installed)
    yield from check_files.database(paths)
    yield from check_machine.ports(roles)
    yield from check_machine.strays(
        paths.path, paths.database, fleet.port, paths.path / "pids" / "superlink.json"
    )
    yield from check_machine.telemetry(of_folder(paths.path), roles)
    yield from check_machine.clock(fleet.address, paths.path / "ca.crt")


def _node(paths: NodePaths, now: dt.datetime, installed: Versions) -> Iterator[Finding]:
    roles = node_roles(paths)
    yield from check_files.rights([paths.path], paths.secrets)
    yield from check_files.guards(
        [(paths.path / "guard", "client")], f"homebody fleet preflight {paths.path} --repair"
    )
    yield from check_certificates.node_certificates(paths, now)
    yield from check_files.node_versions(paths, installed)
    yield from check_machine.ports(roles)
    yield from check_machine.telemetry(of_folder(paths.path), roles)
    yield from check_machine.clock(paths.runtime().server, paths.path / "ca.crt")


def _kept(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings; a file that cannot be read at all is the last of them."""
    try:
        yield from findings
    except HomebodyError as error:
        yield wrong_file("files", str(error), why="the fleet cannot start", fix=error.fix)
