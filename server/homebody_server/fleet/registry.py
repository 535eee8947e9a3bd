"""Who is in the fleet: one record a registered node, and who is not any more.

The server app reads it: a certificate that is valid by its signature counts only while its node
stands here and was not revoked. Records hold public keys; their folder is the operator's alone.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import rfc8785

from homebody_privacy.certificate import Certificate
from homebody_privacy.durable import locked, write_durably
from homebody_privacy.errors import InvalidFileError

from .layout import Versions

_SUFFIX: Final = ".node.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A registered node.

    Attributes:
        name: The operator's name for it.
        certificate: The node's certificate, as the authority signed it.
        supernode: Public key its SuperNode signs in with, one line of OpenSSH.
        flower_id: Flower's id of its registration; "" before it is registered with a SuperLink.
        versions: What the node had installed when it asked; None if it did not say.
        revoked: Whether it is out.
    """

    name: str
    certificate: bytes = field(repr=False)
    supernode: str = field(repr=False)
    flower_id: str = ""
    versions: Versions | None = None
    revoked: bool = False

    @property
    def node_id(self) -> bytes:
        """SHA-256 of the node's signing key."""
        return Certificate.from_bytes(self.certificate).node_id

    def to_bytes(self) -> bytes:
        """Return RFC 8785 JSON."""
        return rfc8785.dumps(
            {
                "name": self.name,
                "certificate": base64.b64encode(self.certificate).decode(),
                "supernode": self.supernode,
                "flower_id": self.flower_id,
                "versions": None if self.versions is None else self.versions.model_dump(),
                "revoked": self.revoked,
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: If it is anything else.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            versions = values["versions"]
            record = cls(
                name=str(values["name"]),
                certificate=base64.b64decode(values["certificate"], validate=True),
                supernode=str(values["supernode"]),
                flower_id=str(values["flower_id"]),
                versions=None if versions is None else Versions.model_validate(versions),
                revoked=values["revoked"] is True,
            )
        except (KeyError, RecursionError, TypeError) as error:
            raise ValueError("this is no record of a node") from error
        if record.to_bytes() != content:
            raise ValueError("the record of a node holds more than it may")
        return record


class Registry:
    """The records of a fleet's nodes.

    Args:
        folder: ``registry`` in the fleet's folder.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the folder; it is read at each call."""
        self._folder = folder

    def records(self) -> dict[str, Record]:
        """Return all records by name, revoked ones too.

        Raises:
            InvalidFileError: If one is damaged.
        """
        found = {}
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                record = Record.from_bytes(file.read_bytes())
            except (OSError, ValueError) as error:
                raise InvalidFileError(
                    f"{file}: this is no record of a node", fix="register the node anew"
                ) from error
            found[record.name] = record
        return found

    def certificates(self) -> dict[bytes, bytes]:
        """Return the certificates of the nodes that are in, by node id."""
        return {r.node_id: r.certificate for r in self.records().values() if not r.revoked}

    def revoked(self) -> frozenset[bytes]:
        """Return the ids of the nodes that are out."""
        return frozenset(r.node_id for r in self.records().values() if r.revoked)

    def get(self, name: str) -> Record | None:
        """Return a node's record; None if there is none."""
        return self.records().get(name)

    def put(self, record: Record) -> None:
        """Keep a record, in the place of the node's earlier one."""
        with locked(self._folder / "lock"):
            file = self._folder / f"{record.name}{_SUFFIX}"
            write_durably(file, record.to_bytes(), mode=0o600)

    def change(self, name: str, **fields: Any) -> Record:  # noqa: ANN401 - fields of a Record
        """Change fields of a node's record and return it.

        Raises:
            InvalidFileError: If there is no such node.
        """
        record = self.get(name)
        if record is None:
            raise unknown(name)
        changed = replace(record, **fields)
        self.put(changed)
        return changed

    def marks(self) -> Mapping[str, bool]:
        """Return which nodes are revoked, by name: what the supervisor looks at."""
        return {name: record.revoked for name, record in self.records().items()}


def unknown(name: str) -> InvalidFileError:
    """Return the refusal of a name no node has."""
    return InvalidFileError(f"no node is registered as {name!r}", fix="homebody fleet status DIR")
