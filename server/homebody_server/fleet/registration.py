"""Keep the SuperLink's list of keys and the fleet's registry the same."""

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
    seen = {n.flower_id for n in Control(paths).nodes() if n.status != "unregistered"}
    return [r for r in records if r.name in local and not r.revoked and r.flower_id not in seen]


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
        try:
            flower_id = control.register(key, record.name)
        except DependencyError:
            _forget_cut_off(registry, control)
            flower_id = control.register(key, record.name)
    finally:
        key.unlink()
    return registry.change(record.name, flower_id=flower_id)


def _forget_cut_off(registry: Registry, control: Control) -> None:
    """Take out keys that no record names and that never were online: nobody wrote down their id."""
    known = {record.flower_id for record in registry.records().values()}
    for node in control.nodes():
        if node.status == "registered" and node.flower_id not in known:
            control.unregister(node.flower_id)
