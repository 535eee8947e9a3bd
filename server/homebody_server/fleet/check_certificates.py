"""Preflight of certificates: in time, of the right authority, for the right host, with a key."""

import datetime as dt
import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509

from homebody_privacy.errors import HomebodyError, InvalidFileError
from homebody_privacy.signing import SigningKey

from .finding import Finding, fine, warning, wrong_file
from .layout import FleetPaths, NodePaths
from .layout import split as split_address
from .registry import Registry
from .tls import Issued, is_signed_by, load_certificate, names_of

NEAR_DAYS: Final = 30
"""Days before its end from which a certificate is warned of."""


def fleet_certificates(paths: FleetPaths, now: dt.datetime) -> Iterator[Finding]:
    """Look at the authority, the server's certificate and those of local nodes."""
    fleet, rotate = paths.read(), f"homebody fleet rotate {paths.path}"
    yield from _checked(
        "authority-certificate",
        paths.path / "ca.crt",
        paths.path / "ca.key",
        paths.path / "ca.crt",
        now,
        fix="make a new fleet: every node trusts this authority",
    )
    yield from _checked(
        "server-certificate",
        paths.path / "server.crt",
        paths.path / "server.key",
        paths.path / "ca.crt",
        now,
        names=(*fleet.names, split_address(fleet.address)[0]),
        fix=rotate,
    )
    authority = SigningKey.load(paths.path / "authority.key").public
    aggregator = SigningKey.load(paths.path / "aggregator.key").public
    revoked = {name for name, out in Registry(paths.path / "registry").marks().items() if out}
    for node, name in zip(paths.nodes(), fleet.nodes, strict=True):
        if name in revoked:
            continue
        yield from node_certificates(node, now, label=f"{name}: ", fix=rotate)
        yield from _same_authority(paths, node, name)
        pins = node.folder.pins()
        if (pins.authority, pins.aggregator) != (authority, aggregator):
            yield wrong_file(
                "node-pins",
                f"{name}: pinned to other keys than this fleet's",
                why="the node would refuse every message",
                fix="let the node join anew",
            )


def node_certificates(
    node: NodePaths, now: dt.datetime, *, label: str = "", fix: str = ""
) -> Iterator[Finding]:
    """Look at a node's loopback certificate and at what the fleet's authority says of it.

    Args:
        node: Its folder.
        now: Time, UTC.
        label: Put before each line.
        fix: What makes its certificates anew.
    """
    yield from _checked(
        "runtime-certificate",
        node.path / "runtime.crt",
        node.path / "runtime.key",
        node.path / "runtime.ca.crt",
        now,
        names=("127.0.0.1",),
        fix=f"homebody fleet rotate {node.path}",
        label=label,
    )
    runtime = node.runtime()
    if runtime.state != "joined":
        yield wrong_file(
            "node-certificate",
            f"{label}the fleet has not answered yet",
            why="nobody vouches for the node",
            fix=f"homebody fleet join {node.path} --answer FILE",
        )
        return
    try:
        pins, certificate = node.folder.pins(), node.folder.certificate()
        certificate.check(pins.authority, runtime.fleet, now.timestamp())
    except HomebodyError as error:
        yield wrong_file(
            "node-certificate",
            f"{label}{error}",
            why="the aggregator would not count the node",
            fix=fix or "ask the operator: homebody fleet register, with the node's request",
        )
        return
    left = (certificate.not_after - now.timestamp()) / 86400
    yield from _time_left("node-certificate", f"{label}certificate.bin", left, fix or "register")


def _checked(
    check: str,
    certificate: Path,
    key: Path,
    authority: Path,
    now: dt.datetime,
    *,
    names: Iterable[str] = (),
    fix: str,
    label: str = "",
) -> Iterator[Finding]:
    """Look at one certificate of TLS, its key, its authority, its time and its names."""
    try:
        found = load_certificate(certificate)
        issuer = load_certificate(authority)
    except InvalidFileError as error:
        yield wrong_file(check, f"{label}{error}", why="TLS cannot start", fix=fix)
        return
    problems = list(_problems(found, issuer, now, names))
    try:
        Issued.load(certificate, key)
    except InvalidFileError as error:
        problems.append((str(error), "TLS cannot start"))
    for what, why in problems:
        yield wrong_file(check, f"{label}{certificate.name}: {what}", why=why, fix=fix)
    if not problems:
        left = (found.not_valid_after_utc - now).total_seconds() / 86400
        yield from _time_left(check, f"{label}{certificate.name}", left, fix)


def _problems(
    found: x509.Certificate, issuer: x509.Certificate, now: dt.datetime, names: Iterable[str]
) -> Iterator[tuple[str, str]]:
    if now > found.not_valid_after_utc:
        yield f"it ended on {found.not_valid_after_utc:%Y-%m-%d}", "whoever dials refuses it"
    if now < found.not_valid_before_utc:
        yield (
            f"it begins on {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            "whoever dials refuses it; or this machine's clock is behind",
        )
    if not is_signed_by(found, issuer):
        yield "it is not signed by the authority beside it", "whoever dials refuses it"
    missing = sorted({_plain(name) for name in names} - names_of(found))
    if missing:
        yield f"it is not for {', '.join(missing)}", "who dials that name refuses it"


def _time_left(check: str, name: str, days: float, fix: str) -> Iterator[Finding]:
    if days < NEAR_DAYS:
        yield warning(check, f"{name} ends in {days:.0f} days", why="it will be refused", fix=fix)
    else:
        yield fine(check, f"{name} holds for {days:.0f} days")


def _same_authority(paths: FleetPaths, node: NodePaths, name: str) -> Iterator[Finding]:
    if (node.path / "ca.crt").read_bytes() != (paths.path / "ca.crt").read_bytes():
        yield wrong_file(
            "node-authority",
            f"{name}: ca.crt is of another authority than the server's certificate",
            why="the SuperNode refuses the server",
            fix=f"copy {paths.path / 'ca.crt'} to {node.path / 'ca.crt'}",
        )


def _plain(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
