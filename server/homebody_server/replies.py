"""Read what replies hold; anything but one array of integers is as if nobody had answered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from flwr.app import Message

from homebody_privacy import messages
from homebody_server.release import Contribution

_ASKING: Final = (messages.INVITATION, messages.QUESTION)

Asked = Mapping[tuple[int, str], int]
"""How many devices each message asks, by node and group of the message. Secret: participation."""


def integers_of(reply: Message) -> npt.NDArray[np.int64] | None:
    """Return the integers of a reply, or None if it holds anything else."""
    if not reply.has_content():
        return None
    record = reply.content.array_records.get(messages.UPDATE)
    if record is None or list(record) != [messages.CONTRIBUTION]:
        return None
    try:
        integers = record[messages.CONTRIBUTION].numpy()
    except (EOFError, OSError, TypeError, ValueError):
        return None  # not a serialised array: as if the device had not answered
    if integers.dtype not in (np.int32, np.int64):
        return None
    return integers.astype(np.int64)


def devices_in(reply: Message, asked: int) -> int:
    """Return how many devices a reply is from, at most ``asked``: all, unless it says fewer."""
    record = reply.content.config_records.get(messages.ANSWERED)
    said = None if record is None else record.get(messages.DEVICES)
    return min(asked, max(said, 0)) if type(said) is int else asked


def asking_record(message: Message) -> Mapping[str, object]:
    """Return the values of the invitation or the question a message holds."""
    records = message.content.config_records
    return next(records[name] for name in _ASKING if name in records)


def devices_asked(messages_sent: Iterable[Message]) -> dict[tuple[int, str], int]:
    """Return how many devices each message asks. Secret."""
    asked = {}
    for message in messages_sent:
        devices = asking_record(message)[messages.DEVICES]
        key = (message.metadata.dst_node_id, message.metadata.group_id)
        asked[key] = len(devices) if isinstance(devices, list) else 0
    return asked


@dataclass(frozen=True, slots=True)
class Replies:
    """The contributions of what came, decoded anew at each pass. Secret.

    A node's first reply to a message is its only one: a second would be a second contribution.
    What is malformed, or of another length, or was not asked for, is left out. A node may say that
    fewer devices are in its reply than it was asked for; the bound on its integers shrinks with it.

    Attributes:
        asked: Who was asked.
        received: What came.
        length: Integers of a contribution.
    """

    asked: Asked = field(repr=False)
    received: Sequence[Message] = field(repr=False)
    length: int

    def __iter__(self) -> Iterator[Contribution]:
        """Give each contribution once, in the order of the replies."""
        waiting = dict(self.asked)
        for reply in self.received:
            key = (reply.metadata.src_node_id, reply.metadata.group_id)
            devices, integers = waiting.pop(key, 0), integers_of(reply)
            if integers is not None:
                devices = devices_in(reply, devices)
            if devices and integers is not None and integers.shape == (self.length,):
                yield Contribution(integers, devices)
