"""The processes of a fleet and of a node: command line, environment, where their words go.

Every process gets a short list of the shell's variables and nothing else: no proxy, no
``SSLKEYLOGFILE`` that writes down the keys of TLS, no ``PYTHONPATH``, no setting of Flower but
those of ``homebody_privacy.environment.QUIET``.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from homebody_privacy.environment import FLEET, NODE, QUIET

from .layout import FleetPaths, NodePaths, join
from .layout import split as split_address

_KEPT: Final = ("HOME", "LANG", "LOGNAME", "TMPDIR", "TZ", "USER", "LD_LIBRARY_PATH")
_KEPT_PREFIXES: Final = ("CUDA_", "HOMEBODY_", "LC_", "MKL_", "OMP_", "XDG_")
_SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_LOOPBACK: Final = "127.0.0.1"


class Kind(StrEnum):
    """What a process is to Flower."""

    SUPERLINK = "superlink"
    SUPERNODE = "supernode"
    SUPEREXEC = "superexec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One process to keep running.

    Attributes:
        name: Of the process: ``superlink``, ``superexec``, ``n1.supernode``, ...
        kind: What it is to Flower.
        node: Folder of its node; None for the server's.
        command: Command line; holds paths, no secrets.
        environ: Its whole environment.
        home: Folder it runs in.
        log: File of its words.
        record: File that remembers the process.
    """

    name: str
    kind: Kind
    node: Path | None
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    home: Path
    log: Path
    record: Path


def program(name: str) -> str:
    """Return the absolute path of a program of this Python's environment."""
    return str(Path(sys.executable).parent / name)


def launch(name: str) -> tuple[str, ...]:
    """Return how a command line of one of Flower's programs starts; its words name no device."""
    return (sys.executable, "-I", "-m", "homebody_server.fleet.launch", name)


def environment(
    folder: Path, home: Path, path: str, shell: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of a process.

    Args:
        folder: The fleet's or node's folder; every process of it carries it.
        home: Flower's folder of this process.
        path: ``PATH``.
        shell: Where the few kept variables come from.
    """
    kept = {
        name: value
        for name, value in shell.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    kept.pop(NODE, None)
    return {
        **kept,
        **QUIET,
        "FLWR_HOME": str(home),
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        FLEET: str(folder),
    }


def control_environment(paths: FleetPaths) -> dict[str, str]:
    """Return the environment of Flower's command line, as the operator of this fleet."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{_SYSTEM_PATH}"
    values = environment(paths.path, paths.path / "cli", path)
    del values[FLEET]  # it ends by itself
    return values


def fleet_roles(paths: FleetPaths) -> list[Role]:
    """Return the processes of a fleet, in the order they start: server, then its local nodes."""
    fleet = paths.read()
    server = [
        Role(
            name="superlink",
            kind=Kind.SUPERLINK,
            node=None,
            command=(
                *launch("flower-superlink"),
                *("--ssl-ca-certfile", str(paths.path / "ca.crt")),
                *("--ssl-certfile", str(paths.path / "server.crt")),
                *("--ssl-keyfile", str(paths.path / "server.key")),
                "--enable-supernode-auth",
                *("--host", fleet.host, "--port", str(fleet.port)),
                *("--database", str(paths.database)),
                *("--isolation", "process"),
                *("--superexec-auth-secret-file", str(paths.path / "superexec.secret")),
                "--disable-runtime-dependency-installation",
            ),
            **_places(paths.path, paths.path, "superlink"),
        ),
        Role(
            name="superexec",
            kind=Kind.SUPEREXEC,
            node=None,
            command=_superexec(
                fleet.address, paths.path / "ca.crt", paths.path / "superexec.secret"
            ),
            **_places(paths.path, paths.path, "superexec"),
        ),
    ]
    nodes = [role for node in paths.nodes() for role in node_roles(node, paths.path)]
    return server + nodes


def node_roles(paths: NodePaths, folder: Path | None = None) -> list[Role]:
    """Return the two processes of a node: its SuperNode, and the SuperExec behind the guard.

    Args:
        paths: Of the node.
        folder: Whose processes they are; the node's own by default.
    """
    runtime, own = paths.runtime(), paths.path
    prefix = "" if folder is None else f"{runtime.name}."
    owner = own if folder is None else folder
    return [
        Role(
            name=f"{prefix}supernode",
            kind=Kind.SUPERNODE,
            node=own,
            command=(
                *launch("flower-supernode"),
                *("--superlink", runtime.server),
                *("--root-certificates", str(own / "ca.crt")),
                *("--auth-supernode-private-key", str(own / "supernode.key")),
                *("--ssl-certfile", str(own / "runtime.crt")),
                *("--ssl-keyfile", str(own / "runtime.key")),
                *("--ssl-ca-certfile", str(own / "runtime.ca.crt")),
                *("--host", _LOOPBACK, "--port", str(runtime.port)),
                *("--isolation", "process"),
                *("--superexec-auth-secret-file", str(own / "superexec.secret")),
            ),
            **_places(owner, own, f"{prefix}supernode"),
        ),
        Role(
            name=f"{prefix}superexec",
            kind=Kind.SUPEREXEC,
            node=own,
            command=_superexec(
                join(_LOOPBACK, runtime.port), own / "runtime.ca.crt", own / "superexec.secret"
            ),
            **_places(owner, own, f"{prefix}superexec"),
        ),
    ]


def _superexec(address: str, authority: Path, secret: Path) -> tuple[str, ...]:
    return (
        *launch("flower-superexec"),
        *("--runtime-api-address", address),
        *("--root-certificates", str(authority)),
        *("--superexec-auth-secret-file", str(secret)),
    )


def _places(folder: Path, home: Path, name: str) -> dict[str, Any]:
    """Return where a process runs: only what its guard allows is on a SuperExec's ``PATH``."""
    path = f"{home / 'guard'}{os.pathsep}{_SYSTEM_PATH}"
    environ = environment(folder, home / "flwr", path)
    if home != folder or (home / "runtime.toml").exists():
        environ[NODE] = str(home)
    return {
        "environ": environ,
        "home": home,
        "log": folder / "logs" / f"{name}.log",
        "record": folder / "pids" / f"{name}.json",
    }


def port_of(role: Role) -> int | None:
    """Return the port a process listens on; None for one that listens on none."""
    if "--port" not in role.command:
        return None
    return int(role.command[role.command.index("--port") + 1])


def address_of(role: Role) -> tuple[str, int]:
    """Return host and port a SuperNode dials."""
    return split_address(role.command[role.command.index("--superlink") + 1])
