"""A person's device as a worker: everything it sends passes the send gate, sealed.

The gate sees the sealed bytes alone: the update is masked and sealed before it asks, so that what
the egress log counts is what leaves. Consent is looked at in every leg, and its tag must be the one
the session was joined under.
"""

from collections.abc import Callable

from homebody_client.check_in import Parameters, Participant, Protect
from homebody_client.consent.wire import ConsentOnTheWire
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.messages import Invitation, Question

from .worker import Consent


class PersonWorker:
    """Works for one device.

    Args:
        participant: The device as it is now; asked anew for each message.
        number: Its number in the fleet. Public to the server.
    """

    __slots__ = ("_number", "_participant")

    def __init__(self, participant: Callable[[], Participant], number: int) -> None:
        """Look at the device when a message asks."""
        self._participant = participant
        self._number = number

    def devices(self) -> list[int]:
        """Return the device's own number."""
        return [self._number]

    def consent(self, purpose: str) -> Consent:
        """Return the tag of the present decision, and what proves the receipts if it may be kept.

        Raises:
            ConsentMissingError: If the purpose is shut.
        """
        participant = self._participant()
        wire = ConsentOnTheWire(participant.gates.book)
        proof = participant.config.consent.server_copy == "commitment"
        return Consent(tag=wire.tag(purpose), receipt_sha256=wire.commitment() if proof else "")

    def ready(self) -> None:
        """Refuse while the machine is in use, on battery or on a metered network.

        Raises:
            PolicyViolationError: If it is.
        """
        self._participant().check_ready()

    def train(self, asked: Invitation, parameters: Parameters, protect: Protect) -> bytes:
        """Train, protect, and let the sealed update out through the send gate."""
        self._check_addressee(asked)
        return self._participant().sealed_update(asked, parameters, protect)

    def figures(self, asked: Question, parameters: Parameters, protect: Protect) -> bytes:
        """Compute figures, protect them, and let them out through the send gate."""
        self._check_addressee(asked)
        return self._participant().sealed_figures(asked, parameters, protect)

    def let_out(self, payload: bytes, what: str, purpose: str, number: int) -> None:
        """Let a message of the protocol out through the send gate.

        Raises:
            ConsentMissingError: If the purpose is shut; nothing left.
        """
        self._participant().let_out(payload, what, purpose, number)

    def _check_addressee(self, asked: Invitation | Question) -> None:
        if asked.devices not in ((), (self._number,)):
            raise PolicyViolationError("the message is for another device")
