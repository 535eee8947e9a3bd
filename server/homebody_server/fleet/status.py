"""How a fleet or node stands: its processes, its server, its nodes."""

import datetime as dt
import json
import ssl
from dataclasses import dataclass
from typing import Any

from homebody_privacy.errors import DependencyError, InvalidFileError

from .control import Control, ask
from .layout import FleetPaths, NodePaths
from .lifecycle import supervisor_of
from .processes import recall
from .registry import Registry
from .supervisor import roles_of, state_file
from .tls import load_certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """How one process stands.

    Attributes:
        role: Its name.
        pid: Its id; None if it does not run.
        restarts: How often the supervisor started it again.
        waits_s: Seconds until it is started again, when this was written down; 0 if it runs.
        last: How it ended the last time; "" if it never did.
    """

    role: str
    pid: int | None
    restarts: int
    waits_s: float
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """How one node stands.

    Attributes:
        name: The operator's name for it.
        local: Whether its processes run beside the server.
        state: ``online``, ``offline``, ``registered`` (never online yet), ``new`` (not registered
            with the SuperLink), ``revoked``, or ``unknown`` while the SuperLink is down.
    """

    name: str
    local: bool
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """How a folder stands.

    Attributes:
        name: Of the fleet, or of the node.
        kind: ``fleet`` or ``node``.
        address: Of the server.
        supervised: Whether a supervisor keeps the processes running.
        serving: Whether the server answers with the fleet's certificate, and is well; a node that
            reaches it through a proxy cannot tell the latter.
        certificate_days: Days until the server's certificate ends; None of a node's folder.
        processes: Of this folder.
        nodes: Of the fleet; empty of a node's folder.
    """

    name: str
    kind: str
    address: str
    supervised: bool
    serving: bool
    certificate_days: int | None
    processes: tuple[ProcessStatus, ...]
    nodes: tuple[NodeStatus, ...]

    @property
    def up(self) -> bool:
        """Whether all processes run, and of a fleet every local node is online."""
        running = all(process.pid is not None for process in self.processes)
        there = all(n.state == "online" for n in self.nodes if n.local and n.state != "revoked")
        return self.supervised and running and self.serving and there


def status_of(paths: FleetPaths | NodePaths) -> FleetStatus:
    """Return how a folder stands, now."""
    address = paths.read().address if isinstance(paths, FleetPaths) else paths.runtime().server
    try:
        found = ask(address, paths.path / "ca.crt")
        serving = found is not None and (found.well or isinstance(paths, NodePaths))
    except ssl.SSLError:
        serving = False
    fleet = isinstance(paths, FleetPaths)
    return FleetStatus(
        name=paths.read().name if isinstance(paths, FleetPaths) else paths.runtime().name,
        kind="fleet" if fleet else "node",
        address=address,
        supervised=supervisor_of(paths) is not None,
        serving=serving,
        certificate_days=_days(paths) if isinstance(paths, FleetPaths) else None,
        processes=_processes(paths),
        nodes=_nodes(paths, serving=serving) if isinstance(paths, FleetPaths) else (),
    )


def _processes(paths: FleetPaths | NodePaths) -> tuple[ProcessStatus, ...]:
    try:
        said: dict[str, Any] = json.loads(state_file(paths.path).read_bytes())
    except (OSError, ValueError):
        said = {}
    found = []
    for role in roles_of(paths):
        process, known = recall(role.record), said.get(role.name, {})
        found.append(
            ProcessStatus(
                role=role.name,
                pid=None if process is None else process.pid,
                restarts=int(known.get("restarts", 0)),
                waits_s=float(known.get("waits_s", 0.0)) if process is None else 0.0,
                last=str(known.get("last", "")),
            )
        )
    return tuple(found)


def _nodes(paths: FleetPaths, *, serving: bool) -> tuple[NodeStatus, ...]:
    local, seen = set(paths.read().nodes), {}
    if serving:
        try:
            seen = {node.flower_id: node.status for node in Control(paths).nodes()}
        except DependencyError:
            serving = False
    found = []
    for name, record in Registry(paths.path / "registry").records().items():
        state = "unknown"
        if record.revoked:
            state = "revoked"
        elif not record.flower_id:
            state = "new"
        elif serving:
            state = seen.get(record.flower_id, "new")
        found.append(NodeStatus(name=name, local=name in local, state=state))
    return tuple(found)


def _days(paths: FleetPaths) -> int | None:
    try:
        end = load_certificate(paths.path / "server.crt").not_valid_after_utc
    except InvalidFileError:
        return None
    return (end - dt.datetime.now(dt.UTC)).days
