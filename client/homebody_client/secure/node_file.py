"""What a deployed node hosts, as its folder says: one small file beside its keys.

The file is written on the node's own machine, by whoever assigns it its devices. It pins the digest
of the approved privacy config; the server's word decides nothing of it. Example of a shard::

    kind = "shard"
    config_sha256 = "9f..."
    population = 40

and of one person's device, whose machine its operator keeps ready for training::

    kind = "device"
    config_sha256 = "9f..."
    population = 40
    number = 39
    profile = "/home/alex/homebody"
    idle = true
    charging = true
    unmetered = true
"""

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal, Self, get_type_hints

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import InvalidFileError

_DIGITS: Final = 64
_HEX: Final = frozenset("0123456789abcdef")

Kind = Literal["shard", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFile:
    """What a node hosts. Public, but for where a profile lies.

    Attributes:
        kind: ``shard``: rows of a population, given to the node; ``device``: one person's device.
        config_sha256: Digest of the approved privacy config.
        population: Devices of the whole fleet.
        number: ``device`` only: its number in the population.
        profile: ``device`` only: folder of ``homebody device init``.
        passphrase_file: ``device`` only: what seals the profile's key; empty for none.
        idle: ``device`` only: nobody else uses the machine.
        charging: ``device`` only: it is on mains.
        unmetered: ``device`` only: its network costs nothing.
    """

    kind: Kind
    config_sha256: str
    population: int
    number: int = -1
    profile: str = ""
    passphrase_file: str = ""
    idle: bool = False
    charging: bool = False
    unmetered: bool = False

    def __post_init__(self) -> None:
        """Refuse what names no node."""
        for name, kind in get_type_hints(type(self)).items():
            wanted = str if name == "kind" else kind
            if type(getattr(self, name)) is not wanted:
                raise ValueError(f"{name} has another type")
        if self.kind not in ("shard", "device"):
            raise ValueError("kind must be shard or device")
        if len(self.config_sha256) != _DIGITS or not _HEX.issuperset(self.config_sha256):
            raise ValueError("config_sha256 must be a SHA-256 in lower-case hex")
        if self.population < 1:
            raise ValueError("population must be at least 1")
        alone = self.kind == "device"
        if alone != bool(self.profile) or alone != (0 <= self.number < self.population):
            raise ValueError("a device, and nothing else, has a profile and a number")

    def save(self, path: Path) -> None:
        """Write the file, in one step."""
        values = {name: getattr(self, name) for name in (one.name for one in fields(self))}
        own = {"kind", "config_sha256", "population"}
        lines = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in values.items()
            if name in own or self.kind == "device"
        ]
        write_durably(path, ("\n".join(lines) + "\n").encode(), mode=0o600)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote, or what a person wrote in its place.

        Raises:
            InvalidFileError: If it is missing, no TOML, or says something that no node can be.
        """
        try:
            return cls(**tomllib.loads(path.read_text("utf-8")))
        except OSError as error:
            raise InvalidFileError(
                f"{path}: cannot be read: {error.strerror}",
                fix="assign the node its devices: homebody fleet assign",
            ) from error
        except (TypeError, ValueError) as error:
            raise InvalidFileError(f"{path}: it does not say what a node hosts") from error
