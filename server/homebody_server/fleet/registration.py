"""Keep the SuperLink's list of keys and the fleet's registry the same."""

import sqlite3
from contextlib import closing

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

from homebody_privacy.errors import DependencyError

from .control import Control
from .layout import FleetPaths, write_private
from .registry import Record, Registry


def unregistered(paths: FleetPaths) -> list[Record]:
    """Return the local nodes whose keys the SuperLink does not know.

    All of them where the database is new, one where its registration was cut off.

    Raises:
        DependencyError: If the SuperLink does not answer.
    """
    records, local = Registry(paths.path / "registry").records().values(), paths.read().nodes
    seen = known_keys(paths)
    return [r for r in records if r.name in local and not r.revoked and r.flower_id not in seen]


def known_keys(paths: FleetPaths) -> frozenset[str]:
    """Return Flower's ids of the nodes whose keys the SuperLink takes.

    Raises:
        DependencyError: If the SuperLink does not answer.
    """
    seen = Control(paths).nodes()
    return frozenset(node.flower_id for node in seen if node.status != "unregistered")


def register_key(paths: FleetPaths, record: Record) -> Record:
    """Register one node's key with the SuperLink and keep Flower's id of it.

    Raises:
        DependencyError: If the SuperLink does not take it.
    """
    registry, control = Registry(paths.path / "registry"), Control(paths)
    key = paths.path / "cli" / f"{record.name}.pub"
    key.unlink(missing_ok=True)
    write_private(key, record.supernode.encode() + b"\n")
    try:
        flower_id = control.register(key, record.name)
    except DependencyError:
        kept = _kept_id(paths, record)  # the registration before was cut off, or its id lost
        if kept is None:
            raise
        flower_id = kept
    finally:
        key.unlink()
    return registry.change(record.name, flower_id=flower_id)


def _kept_id(paths: FleetPaths, record: Record) -> str | None:
    """Return the id under which the SuperLink keeps a key; None if it does not take the key.

    Its command line does not tell whose key a node has, and a key is taken once: only the database
    knows. A key that was unregistered is out for good.
    """
    public = load_ssh_public_key(record.supernode.encode())
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    question = "SELECT node_id FROM node WHERE public_key = ? AND status != 'unregistered'"
    try:
        uri = f"file:{paths.database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as connection:
            found = connection.execute(question, (pem,)).fetchone()
    except sqlite3.Error:
        return None
    return None if found is None else str(found[0] % 2**64)  # kept as a signed number
