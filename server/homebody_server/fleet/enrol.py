"""A node on another machine joins: its request goes to the operator, the answer comes back.

``join`` makes the node's keys where they stay, and a request of public keys, signed by the node.
``register`` checks it, issues the certificate, registers the SuperNode's key and writes the answer.
``accept`` takes the answer in. The two files hold nothing secret, but the answer must come from the
operator: who can change it on its way becomes the node's authority. Both sides print the
authority's key id to compare, and ``accept`` checks one it is given.
"""

import base64
import datetime as dt
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import rfc8785

from homebody_privacy.certificate import Certificate, Request
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.node_folder import Pins
from homebody_privacy.signing import SigningKey, key_id, pae, verify_ed25519

from .control import Control
from .create import certificate_end, fill_node, free_ports, pins_of
from .layout import NAME, FleetPaths, NodePaths, NodeRuntime, Versions, write_private
from .layout import split as split_address
from .registration import known_keys, register_key
from .registry import Record, Registry, unknown
from .supernode_keys import check_public, read_public
from .tls import load_certificate

_TYPE: Final = "application/vnd.homebody.join+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """What a node hands to the operator. Public, but that it names the node.

    Attributes:
        request: The node's own keys and its proof that it holds them.
        supernode: Public key its SuperNode signs in with.
        versions: What it has installed.
        signature: By the node's key, over all of it.
    """

    request: Request
    supernode: str
    versions: Versions
    signature: bytes = field(repr=False, default=b"")

    @classmethod
    def make(cls, identity: NodeIdentity, *, fleet: str, supernode: str) -> Self:
        """Return the signed request of a node."""
        plain = cls(
            request=Request.make(identity, fleet=fleet),
            supernode=supernode,
            versions=Versions.installed(),
        )
        signature = identity.signing.sign(pae(_TYPE, plain._payload()))
        return cls(
            request=plain.request,
            supernode=supernode,
            versions=plain.versions,
            signature=signature,
        )

    def to_bytes(self) -> bytes:
        """Return RFC 8785 JSON: ``payload`` and ``signature``, base64."""
        return rfc8785.dumps(
            {"payload": _text(self._payload()), "signature": _text(self.signature)}
        )

    @classmethod
    def from_bytes(cls, content: bytes, fleet: str) -> Self:
        """Read and check a request for a fleet.

        Raises:
            InvalidFileError: If it is no request.
            IntegrityError: If it is not signed by the keys in it, or for another fleet.
        """
        try:
            outer: dict[str, Any] = json.loads(content)
            payload, signature = _bytes(outer["payload"]), _bytes(outer["signature"])
            values: dict[str, Any] = json.loads(payload)
            found = cls(
                request=Request.from_bytes(_bytes(values["request"])),
                supernode=str(values["supernode"]),
                versions=Versions.model_validate(values["versions"]),
                signature=signature,
            )
            whole = found.to_bytes() == content
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise InvalidFileError("this is no request of a node") from error
        if not whole:
            raise InvalidFileError("the request of a node holds more than it may")
        check_public(found.supernode)
        found.request.check(fleet)
        if not verify_ed25519(found.request.signing, signature, pae(_TYPE, payload)):
            raise IntegrityError("the request is not signed by the node's key in it")
        return found

    def _payload(self) -> bytes:
        return rfc8785.dumps(
            {
                "request": _text(self.request.to_bytes()),
                "supernode": self.supernode,
                "versions": self.versions.model_dump(),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the operator hands back. Public.

    Attributes:
        name: The operator's name for the node.
        certificate: Of the node's keys.
        pins: Whom the node is to trust.
    """

    name: str
    certificate: Certificate
    pins: Pins

    def to_bytes(self) -> bytes:
        """Return RFC 8785 JSON."""
        return rfc8785.dumps(
            {
                "name": self.name,
                "certificate": _text(self.certificate.to_bytes()),
                "pins": _text(self.pins.to_bytes()),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            InvalidFileError: If it is anything else.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            answer = cls(
                name=str(values["name"]),
                certificate=Certificate.from_bytes(_bytes(values["certificate"])),
                pins=Pins.from_bytes(_bytes(values["pins"])),
            )
            whole = answer.to_bytes() == content and re.match(NAME, answer.name) is not None
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise InvalidFileError("this is no answer of a fleet") from error
        if not whole:
            raise InvalidFileError("the answer of a fleet holds more than it may")
        return answer


def join_fleet(
    path: Path, *, server: str, authority: Path, fleet: str | None = None, port: int = 0
) -> Path:
    """Make a node's keys and its request.

    Args:
        path: The node's folder; missing or empty.
        server: ``HOST:PORT`` of the SuperLink, or of the proxy before it.
        authority: Certificate authority of that address (the fleet's ``ca.crt``).
        fleet: Name of the fleet; by default the authority's.
        port: Loopback port of the SuperNode's own API; 0 takes a free one.

    Returns:
        The request, ``request.json`` in the node's folder.

    Raises:
        UsageError: If something is there already, or an argument is none.
    """
    if path.exists() and any(path.iterdir()):
        raise UsageError(f"{path} is not empty: a node's keys are made once")
    try:
        split_address(server)
    except ValueError as error:
        raise UsageError(f"--server: {error}") from error
    subject = load_certificate(authority).subject.rfc4514_string().removeprefix("CN=")
    name = fleet or subject
    if not re.match(NAME, name):
        raise UsageError(f"{authority} does not name the fleet", fix="add --fleet NAME")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    node = NodePaths(path.resolve())
    identity = NodeIdentity.generate()
    identity.save(node.folder.identity_file)
    write_private(node.path / "ca.crt", authority.read_bytes())
    fill_node(node, dt.datetime.now(dt.UTC))
    request = JoinRequest.make(
        identity, fleet=name, supernode=read_public(node.path / "supernode.key.pub")
    )
    write_private(node.path / "request.json", request.to_bytes())
    NodeRuntime(
        name="node",
        fleet=name,
        server=server,
        port=port or free_ports(1)[0],
        versions=request.versions,
        state="asked",
    ).save(node.runtime_file)
    return node.path / "request.json"


def register_node(paths: FleetPaths, request: Path, *, name: str, answer: Path) -> Record:
    """Let a node in: issue its certificate, register its key, write the answer.

    Args:
        paths: Of the fleet, which must be up.
        request: The node's file.
        name: The operator's name for the node: opaque, it stands in no message.
        answer: File to write, for the node.

    Raises:
        UsageError: If the name is taken by another node, or the answer's file is there.
        IntegrityError: If the request is not what a node of this fleet signed.
        DependencyError: If the SuperLink is not up.
    """
    fleet, registry = paths.read(), Registry(paths.path / "registry")
    if not re.match(NAME, name):
        raise UsageError(f"--name must match {NAME}, got {name!r}")
    if answer.exists():
        raise UsageError(f"{answer} is there already")
    try:
        asked = JoinRequest.from_bytes(request.read_bytes(), fleet.name)
    except OSError as error:
        raise InvalidFileError(f"{request}: cannot be read: {error.strerror}") from error
    _refuse_taken(registry, name, asked)
    certificate = Certificate.issue(
        SigningKey.load(paths.path / "authority.key"),
        fleet=fleet.name,
        signing=asked.request.signing,
        recipient=asked.request.recipient,
        not_after=certificate_end(dt.datetime.now(dt.UTC)),
    )
    known = registry.get(name)
    record = Record(
        name=name,
        certificate=certificate.to_bytes(),
        supernode=asked.supernode,
        flower_id="" if known is None else known.flower_id,
        versions=asked.versions,
    )
    registry.put(record)
    if record.flower_id not in known_keys(paths):
        record = register_key(paths, record)
    out = Answer(name=name, certificate=certificate, pins=pins_of(paths, fleet.name))
    write_private(answer, out.to_bytes())
    return record


def accept_answer(node: NodePaths, answer: Path, *, authority: str | None = None) -> str:
    """Take the fleet's answer in and return the authority's key id.

    Args:
        node: The node's folder, made by ``join_fleet``.
        answer: The operator's file.
        authority: Key id the operator read out, to be compared; None trusts the file.

    Raises:
        IntegrityError: If the answer is for another node or fleet, or of another authority.
    """
    runtime, identity = node.runtime(), node.folder.identity()
    try:
        found = Answer.from_bytes(answer.read_bytes())
    except OSError as error:
        raise InvalidFileError(f"{answer}: cannot be read: {error.strerror}") from error
    name = key_id(found.pins.authority)
    if authority is not None and authority != name:
        raise IntegrityError("the answer is of another authority than the one named")
    certificate = found.certificate
    certificate.check(found.pins.authority, runtime.fleet, dt.datetime.now(dt.UTC).timestamp())
    if certificate.node_id != identity.node_id or found.pins.fleet != runtime.fleet:
        raise IntegrityError("the answer is for another node")
    pins = node.folder.pins_file
    if pins.exists() and pins.read_bytes() != found.pins.to_bytes():
        raise IntegrityError(
            "the node is pinned to other keys; a node changes its fleet by new keys"
        )
    node.folder.replace_certificate(certificate)
    write_durably(pins, found.pins.to_bytes(), mode=0o600)
    runtime.model_copy(update={"name": found.name, "state": "joined"}).save(node.runtime_file)
    return name


def revoke_node(paths: FleetPaths, name: str) -> None:
    """Put a node out: its certificate counts no more, and its SuperNode is refused.

    The certificate is out at once, also while the SuperLink is down.

    Raises:
        InvalidFileError: If there is no such node.
        DependencyError: If the SuperLink is not up: ask again when it is.
    """
    registry = Registry(paths.path / "registry")
    record = registry.get(name)
    if record is None:
        raise unknown(name)
    registry.change(name, revoked=True)
    if record.flower_id:
        Control(paths).unregister(record.flower_id)
        registry.change(name, flower_id="")


def _refuse_taken(registry: Registry, name: str, asked: JoinRequest) -> None:
    """Refuse a name of another node, and a node that is in under another name or was put out."""
    for record in registry.records().values():
        same = record.node_id == asked.request.node_id
        if record.name == name and not same:
            raise UsageError(f"another node is registered as {name!r}", fix="choose another --name")
        if same and record.revoked:
            raise UsageError("this node was revoked", fix="let the node join with new keys")
        if same and record.name != name:
            raise UsageError(f"this node is registered as {record.name!r} already")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
