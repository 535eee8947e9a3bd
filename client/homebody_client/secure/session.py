"""What a node remembers between two messages: of a run, and of the session that is open."""

import json
from dataclasses import asdict, dataclass, field
from typing import Self

import rfc8785

from homebody_privacy.legs import Announcement, pack, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNotes:
    """What a node knows of a run.

    Attributes:
        announcement: What the server said of the run, as last told. Public.
        last: Latest serial the node has seen of the run; what is older is refused.
    """

    announcement: Announcement
    last: int

    def to_bytes(self) -> bytes:
        """Return both."""
        return pack(self.announcement.to_bytes(), str(self.last).encode())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote; ``ValueError`` for anything else."""
        announcement, last = unpack(content, 2)
        return cls(announcement=Announcement.from_bytes(announcement), last=int(last))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session a node takes part in.

    Attributes:
        session: Its serial.
        round: Round it is for.
        metric: Which figure; empty for an update.
        length: Words of the sum.
        model_sha256: Digest of the model it is about.
        consent_tag: The consent it was joined under; empty where nobody's consent is asked.
        recipient: Raw key that replies are sealed to.
        device: ``SecAggDevice.to_bytes``. Secret.
        charge: What the ledger charged the sum as; empty in a simulation.
    """

    session: int
    round: int
    metric: str
    length: int
    model_sha256: str
    consent_tag: str
    recipient: bytes = field(repr=False)
    device: bytes = field(repr=False)
    charge: str = ""

    def to_bytes(self) -> bytes:
        """Return all of it. Secret."""
        facts = asdict(self)
        del facts["recipient"], facts["device"]
        return pack(rfc8785.dumps(facts), self.recipient, self.device)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote; ``ValueError`` for anything else."""
        facts, recipient, device = unpack(content, 3)
        try:
            return cls(**json.loads(facts), recipient=recipient, device=device)
        except TypeError as error:
            raise ValueError("it is no session of a node") from error
