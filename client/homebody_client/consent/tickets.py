"""Tickets: what was read under which decisions, so that nothing goes out under a later no.

Asking "is it open now" would let a withdrawal and a new, smaller yes pass unnoticed while training
runs. A ticket names the decisions it was issued under by their counter; it is fresh only while
every one of them is still that decision and every pair is open.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Self

from homebody_client.light_dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What one read was allowed to do. Stays on the device.

    Attributes:
        purpose: What the data was read for.
        features: Feature groups that were read.
        config_sha256: Digest of the privacy config in force, as hex.
        epochs: Counter of the decision, for the purpose and all it requires.
        run: Run it is for; empty for none.
        round: Round it is for, from 1; 0 for none.
    """

    purpose: str
    features: tuple[str, ...]
    config_sha256: str
    epochs: Mapping[str, int] = field(repr=False)
    run: str = ""
    round: int = 0

    def __post_init__(self) -> None:
        """Refuse a ticket for nothing, and freeze the table."""
        if not self.features or self.purpose not in self.epochs:
            raise ValueError("a ticket needs features and the decision of its purpose")
        object.__setattr__(self, "epochs", MappingProxyType(dict(self.epochs)))

    def to_bytes(self) -> bytes:
        """Return the ticket as it is kept beside what waits to leave."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values |= {"features": list(self.features), "epochs": dict(self.epochs)}
        return json.dumps(values, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return a ticket that ``to_bytes`` wrote.

        Raises:
            ValueError: If it is none.
        """
        try:
            values = json.loads(content)
            return cls(**{**values, "features": tuple(values["features"])})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("it is no ticket") from error
