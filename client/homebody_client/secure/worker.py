"""Who does a node's work: the devices it hosts, behind one interface that knows no envelope."""

from dataclasses import dataclass
from typing import Protocol

from homebody_client.check_in import Parameters, Protect
from homebody_privacy.messages import Invitation, Question


@dataclass(frozen=True, slots=True)
class Consent:
    """What of a person's consent goes into an envelope; empty for a shard of a simulation.

    Attributes:
        tag: Stands for the present decision; another one means that it changed.
        receipt_sha256: Commitment to the receipts, hex.
    """

    tag: str = ""
    receipt_sha256: str = ""


class Worker(Protocol):
    """The devices of a node."""

    def devices(self) -> list[int]:
        """Return the numbers of the hosted devices in the population."""
        ...

    def consent(self, purpose: str) -> Consent:
        """Return the consent a session of ``purpose`` would be under now.

        Raises:
            ConsentMissingError: If the purpose is shut.
        """
        ...

    def ready(self) -> None:
        """Refuse a session that the devices could not serve now.

        Raises:
            PolicyViolationError: If a device is not ready.
        """
        ...

    def train(self, asked: Invitation, parameters: Parameters, protect: Protect) -> bytes:
        """Compute what the asked devices add to a round, protect it and let it out.

        Args:
            asked: The invitation; all its devices are hosted here. None asked: zeros.
            parameters: Broadcast model, flat. Public.
            protect: Masks and seals the sum.

        Returns:
            What ``protect`` returned, let out.
        """
        ...

    def figures(self, asked: Question, parameters: Parameters, protect: Protect) -> bytes:
        """Compute what the asked devices add to a figure; otherwise as ``train``."""
        ...

    def let_out(self, payload: bytes, what: str, purpose: str, number: int) -> None:
        """Let a message of the protocol out, or raise.

        Args:
            payload: The whole sealed message.
            what: What it is, in words for an egress log.
            purpose: Purpose of the session.
            number: Round it is for; 0 for none.

        Raises:
            ConsentMissingError: If the purpose is shut; nothing left.
        """
        ...
