"""How a round's contributions come together: each node's reply by itself, or one secure sum.

A gatherer takes the messages a strategy would send and gives back contributions. ``Plain`` sends
them as they are and reads each reply: a laboratory's way. ``secure`` has the other.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from homebody_privacy import messages
from homebody_privacy.errors import TooFewDevicesError
from homebody_server.hosts import Hosts, Register
from homebody_server.release import Contribution
from homebody_server.replies import Replies, devices_asked

_POLL_S = 0.5


class Gatherer(Protocol):
    """Reaches the nodes of a run."""

    @property
    def grid(self) -> Grid:
        """How nodes are reached; Flower's hooks take it."""
        ...

    def enrol(self, devices: int) -> Hosts:
        """Return the node of each of ``devices`` devices, once all are there.

        Raises:
            TooFewDevicesError: If the population is not complete at the deadline.
            IntegrityError: If two nodes claim one device, or a number is outside the population:
                a device counted twice would break the bound on its contribution.
        """
        ...

    def gather(self, asked: Sequence[Message], length: int) -> Iterable[Contribution]:
        """Return what came of these messages until the deadline; it may be read twice. Secret.

        Args:
            asked: What a strategy configured; for nobody, nothing comes.
            length: Integers of a contribution.

        Raises:
            RoundVoidError: If nothing can be released of what came.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Reads each node's reply by itself. The server sees every one of them.

    Attributes:
        grid: How nodes are reached.
        deadline_s: Seconds to wait for replies.
    """

    grid: Grid = field(repr=False)
    deadline_s: float

    def enrol(self, devices: int) -> Hosts:
        """Return the node of each of ``devices`` devices, once all are there."""
        return enrol(self.grid, devices, self.deadline_s)

    def gather(self, asked: Sequence[Message], length: int) -> Iterable[Contribution]:
        """Return the contributions of the good replies. Secret."""
        received = collect(self.grid, list(asked), self.deadline_s) if asked else []
        return Replies(devices_asked(asked), received, length)


def collect(
    grid: Grid, asked: list[Message], deadline_s: float, clock: Callable[[], float] = time.monotonic
) -> list[Message]:
    """Return the good replies, in node order, once all came or the deadline passed.

    Args:
        grid: How nodes are reached.
        asked: Messages to send, one a node.
        deadline_s: Seconds to wait; later replies are never read.
        clock: Monotonic seconds.
    """
    ids = list(grid.push_messages(asked))
    waiting, good = set(ids), []
    end = clock() + deadline_s
    while True:
        for reply in grid.pull_messages(list(waiting)):
            waiting.discard(reply.metadata.reply_to_message_id)
            if reply.has_content():
                good.append(reply)
        if not waiting or clock() >= end:
            return sorted(good, key=lambda reply: reply.metadata.src_node_id)
        time.sleep(_POLL_S)


def enrol(grid: Grid, devices: int, deadline_s: float) -> Hosts:
    """Ask every node which devices it hosts, until all ``devices`` are there.

    Returns:
        Node by device number.

    Raises:
        TooFewDevicesError: If the population is not complete at the deadline.
        IntegrityError: If two nodes claim one device, or a number is outside the population: a
            device counted twice would break the bound on its contribution.
    """
    register = Register(devices)
    known: set[int] = set()
    end = time.monotonic() + deadline_s
    while not register.complete:
        new = [node for node in grid.get_node_ids() if node not in known]
        asks = [
            Message(
                RecordDict(),
                dst_node_id=node,
                message_type=f"{MessageType.QUERY}.{messages.ENROL}",
                ttl=deadline_s,
            )
            for node in new
        ]
        for reply in collect(grid, asks, deadline_s) if asks else []:
            node = reply.metadata.src_node_id
            known.add(node)
            register.add(_enrolment(reply), node)
        if not register.complete:
            if time.monotonic() >= end:
                raise TooFewDevicesError("the population was not complete at the deadline")
            time.sleep(_POLL_S)
    return register.hosts()


def _enrolment(reply: Message) -> list[int]:
    """Return what a node hosts: nothing, if its reply is no enrolment."""
    try:
        return messages.enrolled(reply.content.config_records[messages.ENROL])
    except (KeyError, ValueError):
        return []
