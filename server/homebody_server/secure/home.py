"""Who the server app is to the nodes of a fleet, and which nodes are in it.

===================  ======  =====================================================================
file                 rights  content
===================  ======  =====================================================================
``aggregator.key``   0600    the server app's Ed25519 identity. Secret
``pins.json``        0600    ``Pins``: the fleet's name and both public keys, as nodes have them
``nodes.json``       0600    the certificate of each node that is in, hex. Public keys
===================  ======  =====================================================================

A simulation makes such a folder for its run and destroys it with the run's key. The folder of a
real fleet is another, with a registry; both give the same ``AggregatorHome``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from homebody_privacy.certificate import Certificate
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import InvalidFileError
from homebody_privacy.node_folder import Pins
from homebody_privacy.signing import SigningKey

_KEY: Final = "aggregator.key"
_PINS: Final = "pins.json"
_NODES: Final = "nodes.json"
_FLEET: Final = "fleet.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorHome:
    """What a server app needs to speak to a fleet.

    Attributes:
        signing: Its long-lived identity. Secret.
        authority: Public key of the enrolment authority.
        fleet: Name of the fleet.
        registered: Certificate of each node that is in, by node id. A certificate that is not
            here counts for nothing, whoever signed it.
    """

    signing: SigningKey = field(repr=False)
    authority: bytes
    fleet: str
    registered: Mapping[bytes, Certificate] = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a certificate that stands for another node."""
        if any(node_id != one.node_id for node_id, one in self.registered.items()):
            raise ValueError("a certificate is registered under another node's id")

    @classmethod
    def of(
        cls, signing: SigningKey, *, authority: bytes, fleet: str, nodes: Iterable[Certificate]
    ) -> Self:
        """Return the home of these nodes' fleet."""
        registered = {one.node_id: one for one in nodes}
        return cls(signing=signing, authority=authority, fleet=fleet, registered=registered)

    @property
    def pins(self) -> Pins:
        """What every node of the fleet trusts. Public."""
        return Pins(fleet=self.fleet, authority=self.authority, aggregator=self.signing.public)

    def save(self, folder: Path) -> None:
        """Write the files of a folder that has none.

        Raises:
            FileExistsError: If a server app has its key there already.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        nodes = [one.to_bytes().hex() for one in self.registered.values()]
        write_durably(folder / _NODES, json.dumps(nodes).encode(), mode=0o600)
        write_durably(folder / _PINS, self.pins.to_bytes(), mode=0o600)
        self.signing.save(folder / _KEY)

    @classmethod
    def open(cls, folder: Path) -> "AggregatorHome":
        """Read what ``save`` wrote, or the folder of a real fleet.

        Raises:
            InvalidFileError: If a file is missing or damaged, or the key is not the pinned one.
        """
        if (folder / _FLEET).exists():
            # A simulation does without all that keeps a fleet's processes.
            from homebody_server.fleet.aggregator import aggregator_home  # noqa: PLC0415

            return aggregator_home(folder)
        signing = SigningKey.load(folder / _KEY)
        try:
            pins = Pins.from_bytes((folder / _PINS).read_bytes())
            listed = json.loads((folder / _NODES).read_bytes())
            nodes = [Certificate.from_bytes(bytes.fromhex(one)) for one in listed]
        except (OSError, TypeError, ValueError) as error:
            raise InvalidFileError(
                f"{folder}: this is no folder of a server app ({type(error).__name__})",
                fix="name the folder of a fleet",
            ) from error
        if pins.aggregator != signing.public:
            raise InvalidFileError(
                f"{folder}: the nodes pin another key than {_KEY}", fix="put the right key back"
            )
        return cls.of(signing, authority=pins.authority, fleet=pins.fleet, nodes=nodes)
