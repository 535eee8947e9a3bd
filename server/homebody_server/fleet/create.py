"""``homebody fleet init``: every key, certificate and folder of a fleet, made once."""

import datetime as dt
import os
import shutil
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from homebody_privacy.certificate import Certificate
from homebody_privacy.durable import sync_folder
from homebody_privacy.errors import UsageError
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.node_folder import NodeFolder, Pins
from homebody_privacy.signing import SigningKey

from .guard import write_guard
from .layout import FleetFile, FleetPaths, NodePaths, NodeRuntime, Versions, write_private
from .registry import Record, Registry
from .supernode_keys import make_supernode_key, read_public
from .tls import AUTHORITY_DAYS, issue_server, make_authority

DEFAULT_PORT: Final = 28443
CERTIFICATE_DAYS: Final = 365
"""Days a node's certificate holds; ``homebody fleet rotate`` makes new ones for local nodes."""
_SECRET_BYTES: Final = 32
_LOCAL: Final = ("127.0.0.1", "localhost")


def create_fleet(
    path: Path,
    *,
    name: str,
    nodes: int,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    names: Iterable[str] = (),
    now: dt.datetime | None = None,
) -> FleetPaths:
    """Make the folder of a fleet with its local nodes; a failure leaves nothing behind.

    Args:
        path: The folder; missing or empty.
        name: Of the fleet.
        nodes: Local nodes, named ``n1`` and so on.
        host: Address the SuperLink listens on.
        port: Its port; the nodes' own take the ones after it. 0 takes free ones.
        names: More names and addresses nodes reach the server by.
        now: Time of the certificates, UTC.

    Raises:
        UsageError: If something is there already.
    """
    if path.exists() and any(path.iterdir()):
        raise UsageError(
            f"{path} is not empty: the keys of a fleet are never made over others",
            fix="name a new folder",
        )
    moment = now or dt.datetime.now(dt.UTC)
    ports = _ports(port, nodes + 1)
    own = [host] if host not in ("0.0.0.0", "::") else []  # noqa: S104 nothing is bound here
    fleet = FleetFile(
        name=name,
        host=host,
        port=ports[0],
        names=tuple(dict.fromkeys([*names, *own, *_LOCAL])),
        nodes=tuple(f"n{number}" for number in range(1, nodes + 1)),
        versions=Versions.installed(),
    )
    mask = os.umask(0o077)
    try:
        paths = FleetPaths(path.resolve())
        _fill(paths, fleet, moment)
        for node, node_port in zip(fleet.nodes, ports[1:], strict=True):
            _local_node(paths, fleet, node, node_port, moment)
        fleet.save(paths.file)  # last: a folder without it is no fleet
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        os.umask(mask)
    sync_folder(paths.path)
    return paths


def _fill(paths: FleetPaths, fleet: FleetFile, now: dt.datetime) -> None:
    """Make the server's part."""
    paths.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.path.chmod(0o700)
    for folder in ("registry", "nodes", "logs", "pids", "flwr", "cli"):
        (paths.path / folder).mkdir(mode=0o700)
    authority = make_authority(fleet.name, now)
    server = issue_server(authority, fleet.names, now)
    write_private(paths.path / "ca.key", authority.key_pem)
    write_private(paths.path / "ca.crt", authority.certificate_pem)
    write_private(paths.path / "server.key", server.key_pem)
    write_private(paths.path / "server.crt", server.certificate_pem)
    make_secret(paths.path / "superexec.secret")
    SigningKey.generate().save(paths.path / "authority.key")
    SigningKey.generate().save(paths.path / "aggregator.key")
    write_guard(paths.path / "guard", "server")


def _local_node(
    paths: FleetPaths, fleet: FleetFile, name: str, port: int, now: dt.datetime
) -> None:
    """Make a node beside the server and enter it in the registry."""
    node = paths.node(name)
    identity = NodeIdentity.generate()
    authority = SigningKey.load(paths.path / "authority.key")
    certificate = issue_node(authority, fleet.name, identity, now)
    NodeFolder.create(
        node.path, identity=identity, certificate=certificate, pins=pins_of(paths, fleet.name)
    )
    write_private(node.path / "ca.crt", (paths.path / "ca.crt").read_bytes())
    fill_node(node, now)
    NodeRuntime(
        name=name,
        fleet=fleet.name,
        server=fleet.address,
        port=port,
        versions=fleet.versions,
        state="joined",
    ).save(node.runtime_file)
    Registry(paths.path / "registry").put(
        Record(
            name=name,
            certificate=certificate.to_bytes(),
            supernode=read_public(node.path / "supernode.key.pub"),
            versions=fleet.versions,
        )
    )


def fill_node(node: NodePaths, now: dt.datetime) -> None:
    """Make what a node's two processes need; never over what is there."""
    for folder in ("flwr", "logs", "pids"):
        (node.path / folder).mkdir(mode=0o700)
    make_supernode_key(node.path / "supernode.key")
    make_secret(node.path / "superexec.secret")
    for file, content in runtime_certificates(now).items():
        write_private(node.path / file, content)
    write_guard(node.path / "guard", "client")


def runtime_certificates(now: dt.datetime) -> dict[str, bytes]:
    """Return a node's loopback certificate, its key, and the authority that signed it.

    The authority's key is forgotten at once: nothing else will ever be signed by it.
    """
    authority = make_authority("homebody node", now)
    own = issue_server(authority, _LOCAL, now, days=AUTHORITY_DAYS)
    return {
        "runtime.key": own.key_pem,
        "runtime.crt": own.certificate_pem,
        "runtime.ca.crt": authority.certificate_pem,
    }


def issue_node(
    authority: SigningKey, fleet: str, identity: NodeIdentity, now: dt.datetime
) -> Certificate:
    """Return a new certificate of a node whose keys are here."""
    return Certificate.issue(
        authority,
        fleet=fleet,
        signing=identity.signing.public,
        recipient=identity.recipient.public,
        not_after=certificate_end(now),
    )


def certificate_end(now: dt.datetime) -> int:
    """Return when a node's certificate that is made now ends, Unix seconds."""
    return int((now + dt.timedelta(days=CERTIFICATE_DAYS)).timestamp())


def pins_of(paths: FleetPaths, fleet: str) -> Pins:
    """Return what a node of this fleet pins."""
    return Pins(
        fleet=fleet,
        authority=SigningKey.load(paths.path / "authority.key").public,
        aggregator=SigningKey.load(paths.path / "aggregator.key").public,
    )


def make_secret(path: Path) -> None:
    """Write a new secret for a SuperExec."""
    write_private(path, os.urandom(_SECRET_BYTES).hex().encode())


def _ports(first: int, count: int) -> Sequence[int]:
    """Return the server's port and the nodes'; free ones for 0."""
    if first:
        return range(first, first + count)
    return free_ports(count)


def free_ports(count: int) -> list[int]:
    """Return loopback ports nobody listens on now, all different."""
    probes = []
    try:
        for _ in range(count):
            probe = socket.socket()
            probes.append(probe)
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
