"""The folder of a fleet, and of a node's processes: what lies where, and the two small files.

======================  ======  ==================================================================
file of a fleet         rights  content
======================  ======  ==================================================================
``fleet.toml``          0600    ``FleetFile``: name, address, local nodes, versions. Public
``authority.key``       0600    Ed25519, signs the nodes' certificates. Secret
``aggregator.key``      0600    Ed25519, identity of the server app. Secret
``ca.key``, ``ca.crt``  0600    certificate authority of TLS. The key is secret
``server.key|crt``      0600    the SuperLink's TLS certificate. The key is secret
``superexec.secret``    0600    shared by the SuperLink and its SuperExec. Secret
``state.db``            0600    the SuperLink's database: sealed messages, addresses of nodes
``proofs.db``           0600    proofs of consent, of nobody the server knows (``secure.copies``)
``registry/``           0700    one record a registered node (``registry``)
``guard/``              0700    programs a SuperExec may start (``guard``)
``nodes/NAME/``         0700    local nodes, each as below
``flwr/``, ``cli/``     0700    Flower's own folders: of the server, of its command line
``logs/``, ``pids/``    0700    of the processes
======================  ======  ==================================================================

A node's folder is a ``homebody_privacy.node_folder.NodeFolder`` and holds besides ``runtime.toml``
(``NodeRuntime``), ``ca.crt`` (of the fleet), ``supernode.key`` and ``.pub``, ``runtime.key``,
``runtime.crt`` and ``runtime.ca.crt`` (TLS between its own two processes), ``superexec.secret``,
``guard/``, ``flwr/``, ``logs/`` and ``pids/``.
"""

import json
import os
import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import InvalidFileError
from homebody_privacy.node_folder import NodeFolder

NAME: Final = r"^[a-z0-9][a-z0-9-]{0,31}$"
"""A name of a fleet or node: opaque, chosen by the operator, part of a path."""

HOST: Final = r"^[A-Za-z0-9.:-]{1,253}$"
"""A DNS name or an IP address, without brackets."""

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 looked for, not bound

Name = Annotated[str, Field(pattern=NAME)]
Host = Annotated[str, Field(pattern=HOST)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Versions(BaseModel):
    """Versions a folder was made or last used with."""

    model_config = _STRICT

    homebody: str
    """Of the installed wheel."""
    flwr: str
    """Of Flower."""

    @classmethod
    def installed(cls) -> Self:
        """Return what is installed here."""
        return cls(homebody=version("homebody"), flwr=version("flwr"))


class _File(BaseModel):
    model_config = _STRICT

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check a file that ``to_toml`` wrote.

        Raises:
            InvalidFileError: If it is missing, no TOML or breaks its schema.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text("utf-8")), strict=False)
        except OSError as error:
            raise InvalidFileError(
                f"{path}: cannot be read: {error.strerror}", fix="name the folder of a fleet"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidFileError(f"{path}: no TOML: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InvalidFileError(f"{path}: {field}: {first['msg']}") from error

    def to_toml(self) -> bytes:
        """Return the file. Strings of the schema need no escapes but JSON's."""
        values = self.model_dump()
        tables = {name: value for name, value in values.items() if isinstance(value, dict)}
        lines = [
            f"{name} = {json.dumps(value)}" for name, value in values.items() if name not in tables
        ]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(v)}" for key, v in table.items())]
        return ("\n".join(lines) + "\n").encode()

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_durably(path, self.to_toml(), mode=0o600)


class FleetFile(_File):
    """``fleet.toml``: what a fleet is. Public."""

    name: Name
    """Of the fleet; it stands in every node's certificate."""
    host: Host
    """Address the SuperLink listens on; loopback unless the operator says otherwise."""
    port: Port
    """Port of all of the SuperLink's APIs."""
    names: Annotated[tuple[Host, ...], Field(min_length=1)]
    """Names and addresses the server's certificate is for."""
    nodes: tuple[Name, ...]
    """Nodes whose processes run beside the server, in ``nodes/``."""
    versions: Versions
    """Of the machine that made the folder, or last opened the database."""

    @property
    def address(self) -> str:
        """``host:port`` that local processes dial."""
        return join(_WILDCARDS.get(self.host, self.host), self.port)


class NodeRuntime(_File):
    """``runtime.toml`` of a node's folder: how its two processes run. Public."""

    name: Name
    """Of the node, as the operator calls it."""
    fleet: Name
    """Of its fleet."""
    server: str
    """``host:port`` of the SuperLink, or of the proxy before it."""
    port: Port
    """Loopback port of the SuperNode's own API, for its SuperExec alone."""
    versions: Versions
    """Of the machine that made the folder."""
    state: Literal["asked", "joined"]
    """Whether the fleet's answer is in."""


def join(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address.

    Examples:
        >>> join("::1", 28443)
        '[::1]:28443'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``.

    Examples:
        >>> split("[::1]:28443")
        ('::1', 28443)

    Raises:
        ValueError: If it is no such address.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not re.match(HOST, host) or not port.isdecimal() or not 1 <= int(port) <= 65535:  # noqa: PLR2004
        raise ValueError(f"an address is HOST:PORT, got {address!r}")
    return host, int(port)


@dataclass(frozen=True, slots=True)
class NodePaths:
    """Paths of a node's folder.

    Attributes:
        path: The folder, absolute.
    """

    path: Path

    @property
    def folder(self) -> NodeFolder:
        """The node's keys, certificate and pins."""
        return NodeFolder(self.path)

    @property
    def runtime_file(self) -> Path:
        """How its processes run."""
        return self.path / "runtime.toml"

    def runtime(self) -> NodeRuntime:
        """Return how its processes run."""
        return NodeRuntime.load(self.runtime_file)

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Files nobody but the owner may read."""
        names = ("identity.key", "supernode.key", "runtime.key", "superexec.secret")
        return tuple(self.path / name for name in names)


@dataclass(frozen=True, slots=True)
class FleetPaths:
    """Paths of a fleet's folder.

    Attributes:
        path: The folder, absolute.
    """

    path: Path

    @property
    def file(self) -> Path:
        """What the fleet is."""
        return self.path / "fleet.toml"

    def read(self) -> FleetFile:
        """Return what the fleet is."""
        return FleetFile.load(self.file)

    @property
    def database(self) -> Path:
        """The SuperLink's database."""
        return self.path / "state.db"

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Files nobody but the owner may read."""
        names = ("authority.key", "aggregator.key", "ca.key", "server.key", "superexec.secret")
        return tuple(self.path / name for name in names)

    def node(self, name: str) -> NodePaths:
        """Return the paths of a local node."""
        return NodePaths(self.path / "nodes" / name)

    def nodes(self) -> tuple[NodePaths, ...]:
        """Return the paths of all local nodes."""
        return tuple(self.node(name) for name in self.read().nodes)


def open_folder(path: Path) -> FleetPaths | NodePaths:
    """Tell whose folder it is: a fleet's or a node's.

    Raises:
        InvalidFileError: If it is neither's.
    """
    absolute = path.resolve()
    for paths, file in (
        (FleetPaths(absolute), absolute / "fleet.toml"),
        (NodePaths(absolute), absolute / "runtime.toml"),
    ):
        if file.is_file():
            return paths
    raise InvalidFileError(
        f"{path}: neither the folder of a fleet nor of a node",
        fix="make one: homebody fleet init DIR, or homebody fleet join NODE_DIR",
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600; never over another.

    Raises:
        FileExistsError: If there is a file already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
