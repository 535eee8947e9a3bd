"""Preflight of the machine: ports, stray servers, telemetry, the clock, the disk."""

import ipaddress
import shutil
import socket
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from homebody_privacy.environment import FLEET, QUIET

from .control import ask
from .finding import Finding, fine, machine, policy, warning
from .processes import Process, everyone, recall
from .roles import Role, port_of

LEAST_FREE_BYTES: Final = 1024**3
"""Free disk under which a fleet does not go up: a database that cannot grow loses replies."""
SKEW_WARN_S: Final = 5.0
SKEW_MOST_S: Final = 60.0
"""Flower refuses a node's sign-in that is 300 s off; announcements hold for minutes."""
_PROGRAM: Final = "flower-superlink"
_WORDS: Final = 6  # within which a command line names its program


def ports(roles: Iterable[Role]) -> Iterator[Finding]:
    """Look whether the ports are free, or held by this fleet."""
    taken = False
    for role in roles:
        port = port_of(role)
        if port is None or recall(role.record) is not None:
            continue
        host = role.command[role.command.index("--host") + 1]
        if not _is_free(host, port):
            taken = True
            yield machine(
                "port",
                f"port {port} of {role.name} is taken",
                why="another process listens there, and would be taken for it",
                fix=f"end that process (ss -ltnp 'sport = :{port}'), or change the port in "
                f"{role.home / ('fleet.toml' if role.node is None else 'runtime.toml')}",
            )
    if not taken:
        yield fine("port", "ports are free or held by this fleet")


def strays(folder: Path, database: Path, port: int, record: Path) -> Iterator[Finding]:
    """Look for SuperLinks that are not this fleet's own.

    Args:
        folder: Of the fleet.
        database: Its database.
        port: Its SuperLink's.
        record: Remembers its SuperLink.
    """
    own, found = recall(record), False
    for process in everyone():
        words = process.words
        if process == own or _PROGRAM not in {Path(word).name for word in words[:_WORDS]}:
            continue
        marked = process.environ.get(FLEET)
        if str(database) in words or ("--port" in words and str(port) in words):
            found = True
            yield machine(
                "stray-superlink",
                f"process {process.pid} is a SuperLink on this fleet's "
                f"{'database' if str(database) in words else 'port'}",
                why="two SuperLinks lose each other's messages",
                fix=f"homebody fleet down {folder}" if marked else f"kill {process.pid}",
            )
        elif marked is None:
            found = True
            yield warning(
                "stray-superlink",
                f"process {process.pid} is a SuperLink of no fleet",
                why="one without TLS serves any user of the machine",
                fix=f"kill {process.pid}, if nobody needs it",
            )
    if not found:
        yield fine("stray-superlink", "none")


def telemetry(processes: Iterable[Process], roles: Iterable[Role]) -> Iterator[Finding]:
    """Look whether anything of this fleet could report home or install packages."""
    loud = [
        f"process {process.pid}"
        for process in processes
        if process.environ and not _is_quiet(process.environ)
    ]
    loud += [role.name for role in roles if not _is_quiet(dict(role.environ))]
    for name in loud:
        yield policy(
            "telemetry",
            f"{name} runs with telemetry, update check or run-time installation on",
            why="it would send to, or fetch from, the network",
            fix="end it and start the fleet with homebody fleet up",
        )
    if not loud:
        yield fine("telemetry", "telemetry, update check, run-time installation: off")


def clock(address: str, authority: Path) -> Iterator[Finding]:
    """Compare this machine's clock with the server's, if that answers."""
    try:
        found = ask(address, authority)
    except ssl.SSLError as error:
        yield machine(
            "server",
            f"what answers on {address} does not have the fleet's certificate: {error.reason}",
            why="its certificate is old or for another name, or it is somebody else",
            fix="homebody fleet rotate, or look who listens there",
        )
        return
    if found is None:
        yield fine("clock", "the server does not answer: not compared")
        return
    skew = abs(found.asked - found.date) if found.date is not None else 0.0
    what = f"the server's clock is {skew:.0f} s off this one"
    why = "certificates, announcements and sign-ins hold for a time"
    fix = "set the clocks by NTP"
    if skew > SKEW_MOST_S:
        yield machine("clock", what, why=why, fix=fix)
    elif skew > SKEW_WARN_S:
        yield warning("clock", what, why=why, fix=fix)
    else:
        yield fine("clock", "as the server's")


def exposure(host: str) -> Iterator[Finding]:
    """Look whether more than this machine reaches the APIs that ask nobody who they are."""
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    if inside:
        yield fine("exposure", "the SuperLink listens on loopback alone")
        return
    yield warning(
        "exposure",
        f"the SuperLink listens on {host}",
        why="whoever reaches its Control API may register nodes and start runs",
        fix="listen on 127.0.0.1 behind a proxy that passes /v1/fleet/* on: docs/fleet.md",
    )


def disk(folder: Path, least_bytes: int = LEAST_FREE_BYTES) -> Iterator[Finding]:
    """Look at the free disk."""
    free = shutil.disk_usage(folder).free
    what = f"{free / 1024**3:.1f} GiB free"
    if free < least_bytes:
        yield machine(
            "disk",
            what,
            why="a database that cannot grow loses replies, a ledger that cannot grow ends the run",
            fix=f"free some on the disk of {folder}",
        )
    else:
        yield fine("disk", what)


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _is_quiet(environ: dict[str, str]) -> bool:
    return all(environ.get(name) == value for name, value in QUIET.items())
