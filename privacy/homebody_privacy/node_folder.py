"""The folder of a node: who it is, who it trusts, and where it keeps the legs of its sessions.

==================  ======  =====================================================================
file                rights  content
==================  ======  =====================================================================
``identity.key``    0600    the node's private keys (``NodeIdentity``). Secret
``certificate.bin`` 0600    what the fleet's authority says of it (``Certificate``). Public
``pins.json``       0600    ``Pins``: the fleet and the two keys the node trusts. Public
``state.db``        0600    sessions under way and messages answered, encrypted; beside it an
                            empty ``state.db.lock``: one message of a node at a time
==================  ======  =====================================================================

The folder has rights 0700 and one node. Two nodes never share one, and a folder is never made over
another: an identity is made once.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import rfc8785

from .certificate import Certificate
from .durable import write_durably
from .errors import InvalidFileError
from .identity import NodeIdentity

_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Whom a node trusts. Public, and fixed when the node is made.

    Attributes:
        fleet: Name of the fleet.
        authority: Raw Ed25519 key of the enrolment authority: it signs the nodes' certificates.
        aggregator: Raw Ed25519 key of the server app: it signs what a node is asked.
    """

    fleet: str
    authority: bytes
    aggregator: bytes

    def __post_init__(self) -> None:
        """Refuse what is no fleet or no key."""
        if not self.fleet or not self.fleet.isprintable():
            raise ValueError("fleet must be a name of printable characters")
        if len(self.authority) != _KEY_BYTES or len(self.aggregator) != _KEY_BYTES:
            raise ValueError(f"authority and aggregator must be Ed25519 keys of {_KEY_BYTES} bytes")

    def to_bytes(self) -> bytes:
        """Return RFC 8785 JSON.

        Examples:
            >>> Pins(fleet="home", authority=bytes(32), aggregator=bytes(32)).to_bytes()[:26]
            b'{"aggregator":"00000000000'
        """
        return rfc8785.dumps(
            {
                "fleet": self.fleet,
                "authority": self.authority.hex(),
                "aggregator": self.aggregator.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: If it is anything else, to the byte.
        """
        try:
            values = json.loads(content)
            pins = cls(
                fleet=str(values["fleet"]),
                authority=bytes.fromhex(values["authority"]),
                aggregator=bytes.fromhex(values["aggregator"]),
            )
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError("these are no pins of a node") from error
        if pins.to_bytes() != content:
            raise ValueError("the pins of a node hold more than they may")
        return pins


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """Paths of a node's folder, and what lies there.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def identity_file(self) -> Path:
        """The node's private keys."""
        return self.path / "identity.key"

    @property
    def certificate_file(self) -> Path:
        """The node's certificate."""
        return self.path / "certificate.bin"

    @property
    def pins_file(self) -> Path:
        """The fleet and the keys the node trusts."""
        return self.path / "pins.json"

    @property
    def state_file(self) -> Path:
        """Sessions under way and messages answered."""
        return self.path / "state.db"

    @property
    def node_file(self) -> Path:
        """What a deployed node hosts; a simulated node has none."""
        return self.path / "node.toml"

    @classmethod
    def create(
        cls, path: Path, *, identity: NodeIdentity, certificate: Certificate, pins: Pins
    ) -> Self:
        """Make the folder of a node that has none.

        Args:
            path: The folder; it may be there and be empty of these files.
            identity: The node's keys. Secret.
            certificate: Of these keys.
            pins: Whom the node trusts.

        Raises:
            ValueError: If the certificate is of other keys or another fleet.
            FileExistsError: If a node has its keys there already.
        """
        if certificate.node_id != identity.node_id or certificate.fleet != pins.fleet:
            raise ValueError("the certificate is not of this node in this fleet")
        folder = cls(path)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        identity.save(folder.identity_file)
        folder.replace_certificate(certificate)
        write_durably(folder.pins_file, pins.to_bytes(), mode=0o600)
        return folder

    def replace_certificate(self, certificate: Certificate) -> None:
        """Keep a certificate, in the place of the one before it."""
        write_durably(self.certificate_file, certificate.to_bytes(), mode=0o600)

    def identity(self) -> NodeIdentity:
        """Return the node's keys. Secret.

        Raises:
            InvalidFileError: If they are missing or damaged, or others have rights to them.
        """
        return NodeIdentity.load(self.identity_file)

    def certificate(self) -> Certificate:
        """Return the node's certificate, not yet checked.

        Raises:
            InvalidFileError: If it is missing or damaged.
        """
        try:
            return Certificate.from_bytes(_content(self.certificate_file))
        except ValueError as error:
            raise _damaged(self.certificate_file) from error

    def pins(self) -> Pins:
        """Return whom the node trusts.

        Raises:
            InvalidFileError: If the file is missing or damaged.
        """
        try:
            return Pins.from_bytes(_content(self.pins_file))
        except ValueError as error:
            raise _damaged(self.pins_file) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidFileError(
            f"{path}: cannot be read: {error.strerror}", fix="make the node's folder anew"
        ) from error


def _damaged(path: Path) -> InvalidFileError:
    return InvalidFileError(
        f"{path}: it is not what was written", fix="make the node's folder anew"
    )
