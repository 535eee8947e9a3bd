"""The devices of a simulated node as a worker: the sum of a shard, masked as one vector.

The host of a shard sees its own devices' histories and their updates; what it sends is their sum
under its mask. Nobody's consent is asked in a simulation. A node none of whose devices is there
vanishes before it sends a sum; one with some of them adds zeros for the others, unsaid.
"""

from collections.abc import Callable

from homebody_client.check_in import Parameters, Protect
from homebody_client.host import Host
from homebody_client.shard_answers import answered, shard_figures, shard_update
from homebody_privacy.errors import TooFewDevicesError
from homebody_privacy.messages import Invitation, Question

from .worker import Consent


class ShardWorker:
    """Works for the devices of a host.

    Args:
        opener: Opens the host; called when a message needs it, once.
    """

    __slots__ = ("_host", "_opener")

    def __init__(self, opener: Callable[[], Host]) -> None:
        """Open nothing yet."""
        self._opener = opener
        self._host: Host | None = None

    def _opened(self) -> Host:
        if self._host is None:
            self._host = self._opener()
        return self._host

    def devices(self) -> list[int]:
        """Return the numbers of the hosted devices."""
        return sorted(self._opened().devices)

    def consent(self, purpose: str) -> Consent:
        """Return no consent: nobody is asked in a simulation."""
        del purpose
        return Consent()

    def ready(self) -> None:
        """Be ready always."""

    def train(self, asked: Invitation, parameters: Parameters, protect: Protect) -> bytes:
        """Return the protected sum of what the asked devices add to a round."""
        total = shard_update(self._opened(), asked, parameters)
        self._check_attendance(asked)
        return protect(total)

    def figures(self, asked: Question, parameters: Parameters, protect: Protect) -> bytes:
        """Return the protected sum of what the asked devices add to a figure."""
        total = shard_figures(self._opened(), asked, parameters)
        self._check_attendance(asked)
        return protect(total)

    def _check_attendance(self, asked: Invitation | Question) -> None:
        if asked.devices and not answered(self._opened(), asked):
            raise TooFewDevicesError("no asked device of this node is there")

    def let_out(self, payload: bytes, what: str, purpose: str, number: int) -> None:
        """Let everything out: a simulated node has no gate."""
