"""Bring the processes of a fleet or node up and down, whoever started them."""

import os
import ssl
import subprocess
import sys
import time
from threading import Thread
from typing import Final

from homebody_privacy.errors import DependencyError, UsageError

from .control import Control, health
from .layout import FleetPaths, NodePaths
from .processes import Process, end, recall
from .registry import Registry
from .roles import Kind, environment
from .supervisor import roles_of, supervisor_record, sweep

START_S: Final = 120.0
"""Longest time a fleet may take until its local nodes are online."""
_POLL_S: Final = 0.5
_STOP_S: Final = 45.0
_SETTLE_S: Final = 3.0


def begin(paths: FleetPaths | NodePaths) -> Process:
    """Start the supervisor of a folder in a session of its own: it outlives this process.

    Raises:
        UsageError: If one runs already.
        DependencyError: If it ended at once.
    """
    if supervisor_of(paths) is not None:
        raise UsageError(
            f"{paths.path} is up already", fix=f"homebody fleet status {paths.path}, or down"
        )
    log = paths.path / "logs" / "supervisor.log"
    with log.open("ab") as file:
        log.chmod(0o600)
        child = subprocess.Popen(  # noqa: S603 our own arguments
            [sys.executable, "-I", "-m", "homebody_server.fleet.supervisor", str(paths.path)],
            env=environment(paths.path, paths.path / "flwr", "/usr/bin:/bin"),
            cwd=paths.path,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    Thread(target=child.wait, daemon=True).start()  # nothing of it is left here when it ends
    process = Process.of(child.pid)
    if process is None:
        raise DependencyError("the supervisor ended at once", fix=f"read {log}")
    return process


def await_up(paths: FleetPaths | NodePaths, supervisor: Process, *, timeout_s: float) -> None:
    """Wait until all local nodes are online; of a node's folder, until its processes stand.

    Raises:
        DependencyError: If they are not in time. The supervisor goes on trying.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not supervisor.alive:
            break
        if is_up(paths):
            return
        time.sleep(_POLL_S)
    raise DependencyError(
        f"{paths.path} did not come up in {timeout_s:.0f} s",
        fix=f"homebody fleet logs {paths.path}, and homebody fleet preflight {paths.path}",
    )


def is_up(paths: FleetPaths | NodePaths) -> bool:
    """Tell whether all processes run and, of a fleet, all local nodes are online."""
    roles = roles_of(paths)
    processes = [recall(role.record) for role in roles]
    if None in processes:
        return False
    if isinstance(paths, NodePaths):
        nodes = [role.record for role in roles if role.kind is Kind.SUPERNODE]
        return all(time.time() - record.stat().st_mtime > _SETTLE_S for record in nodes)
    try:
        if health(paths.read().address, paths.path / "ca.crt") is None:
            return False
        online = {node.flower_id for node in Control(paths).nodes() if node.status == "online"}
    except (DependencyError, ssl.SSLError):
        return False
    local = set(paths.read().nodes)
    records = Registry(paths.path / "registry").records().values()
    return all(r.flower_id in online for r in records if r.name in local and not r.revoked)


def supervisor_of(paths: FleetPaths | NodePaths) -> Process | None:
    """Return the folder's supervisor; None if none runs."""
    return recall(supervisor_record(paths.path))


def bring_down(paths: FleetPaths | NodePaths) -> int:
    """End every process of a folder, also where the supervisor was killed.

    Returns:
        How many had to be killed: 0 where all ended when asked.
    """
    supervisor, killed = supervisor_of(paths), 0
    if supervisor is not None and supervisor.pid != os.getpid():
        killed += len(end([supervisor], patience_s=_STOP_S))
    killed += sweep(paths)
    for file in ("supervisor.json", "state.json"):
        (paths.path / "pids" / file).unlink(missing_ok=True)
    return killed
