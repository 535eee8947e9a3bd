"""What passes between a server and its devices, as names and plain values.

Server and client never meet in code: both build and read their Flower records from these types.
Every message carries at most one flat array, because each array costs requests of its own on
every hop.

==============  =========  ====================================================================
message         direction  content
==============  =========  ====================================================================
``query.enrol`` up         numbers of the enrolled devices this node hosts (public to the server)
``train``       down       ``Invitation`` and the model's parameters, float32 ``(size,)``
``train``       up         sum of the invited devices' lattice integers, ``(size,)``, int32 where
                           it fits, else int64; or a decline: a code and nothing else
==============  =========  ====================================================================

A reply holds no loss, no number of examples and no text: a free number would be a second,
uncharged release.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ENROL: Final = "enrol"
"""Action of the query that asks a node which devices it hosts."""

DEVICES: Final = "devices"
"""Key of the list of device numbers, in an enrolment and in an invitation."""

INVITATION: Final = "invitation"
"""Name of the config record that carries an ``Invitation``."""

MODEL: Final = "model"
"""Name of the array record that carries the parameters."""

PARAMETERS: Final = "parameters"
"""Key of the one array of ``MODEL``."""

UPDATE: Final = "update"
"""Name of the array record that carries a contribution."""

CONTRIBUTION: Final = "contribution"
"""Key of the one array of ``UPDATE``."""

DECLINED: Final = "declined"
"""Name of the config record of a decline; its only key is ``CODE``."""

CODE: Final = "code"
"""Key of a decline's code."""

Scalar = int | float | str | bytes | bool
ConfigValue = Scalar | list[int] | list[float] | list[str] | list[bytes] | list[bool]
"""What a Flower config record can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Asks the named devices of one node to contribute to a round. Public but for ``devices``.

    Attributes:
        run: Name of the run.
        round: Round, from 1.
        devices: Numbers of the invited devices the node hosts. Secret: participation.
        config_digest: SHA-256 of the privacy config in force, hex; a device declines another.
    """

    run: str
    round: int
    devices: tuple[int, ...]
    config_digest: str

    def __post_init__(self) -> None:
        """Refuse a round before the first, an invitation to nobody, and one device twice."""
        if self.round < 1:
            raise ValueError(f"round must be at least 1, got {self.round}")
        if not self.devices:
            raise ValueError("an invitation must name at least one device")
        if len(set(self.devices)) != len(self.devices):
            raise ValueError("an invitation may not name a device twice: it would count twice")

    def to_record(self) -> dict[str, ConfigValue]:
        """Return the values of the config record."""
        return {
            "run": self.run,
            "round": self.round,
            DEVICES: list(self.devices),
            "config-digest": self.config_digest,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> "Invitation":
        """Read what ``to_record`` wrote.

        Raises:
            ValueError: If a field is missing or of another type.
        """
        run, number = record.get("run"), record.get("round")
        digest, devices = record.get("config-digest"), record.get(DEVICES)
        match (run, number, digest, devices):
            case (str(), int(), str(), list()) if all(isinstance(d, int) for d in devices):
                return cls(run=run, round=number, devices=tuple(devices), config_digest=digest)
            case _:
                raise ValueError("an invitation needs run, round, devices and config-digest")


def enrolled(record: Mapping[str, object]) -> list[int]:
    """Return the device numbers of an enrolment.

    Raises:
        ValueError: If the record holds anything but numbers from 0.
    """
    devices = record.get(DEVICES)
    if not isinstance(devices, list) or not all(isinstance(d, int) and d >= 0 for d in devices):
        raise ValueError("an enrolment needs a list of device numbers")
    return devices
