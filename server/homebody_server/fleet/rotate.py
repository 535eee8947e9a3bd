"""New certificates before the old ones end: the server's, and those of nodes that are here."""

import datetime as dt
from pathlib import Path
from signal import SIGTERM

from homebody_privacy.durable import write_durably
from homebody_privacy.signing import SigningKey

from .create import issue_node, runtime_certificates
from .layout import FleetPaths, NodePaths
from .processes import recall
from .registry import Registry
from .tls import SERVER_DAYS, Issued, issue_server


def rotate_fleet(paths: FleetPaths, *, days: float = SERVER_DAYS) -> None:
    """Make the server's TLS certificate and the local nodes' certificates anew.

    The authority of TLS stays, so every node keeps working. A SuperLink that runs is ended, and its
    supervisor starts it again with the new certificate; a run goes on.

    Args:
        paths: Of the fleet.
        days: Days the server's certificate holds.
    """
    now, fleet = dt.datetime.now(dt.UTC), paths.read()
    authority = Issued.load(paths.path / "ca.crt", paths.path / "ca.key")
    server = issue_server(authority, fleet.names, now, days=days)
    _replace(paths.path / "server.key", server.key_pem)
    _replace(paths.path / "server.crt", server.certificate_pem)
    signer, registry = (
        SigningKey.load(paths.path / "authority.key"),
        Registry(paths.path / "registry"),
    )
    for name, revoked in registry.marks().items():
        if name in fleet.nodes and not revoked:
            node = paths.node(name).folder
            certificate = issue_node(signer, fleet.name, node.identity(), now)
            node.replace_certificate(certificate)
            registry.change(name, certificate=certificate.to_bytes())
    restart(paths.path / "pids" / "superlink.json")


def rotate_node(paths: NodePaths) -> None:
    """Make a node's loopback certificate anew; its SuperNode signs off and comes back."""
    for name, content in runtime_certificates(dt.datetime.now(dt.UTC)).items():
        _replace(paths.path / name, content)
    for role in ("supernode", "superexec"):
        restart(paths.path / "pids" / f"{role}.json")


def restart(record: Path) -> None:
    """Ask a process to end, if it runs; its supervisor starts it again."""
    process = recall(record)
    if process is not None:
        process.send(SIGTERM)


def _replace(path: Path, content: bytes) -> None:
    write_durably(path, content, mode=0o600)
