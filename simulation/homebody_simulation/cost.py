"""What a device's part costs: bytes and processor time, measured where the device's code runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from flwr.app import Context, Message, MessageType, RecordDict

from homebody_privacy.legs import ACTIONS, Step
from homebody_privacy.messages import DEVICES, INVITATION
from homebody_simulation.grid import Cohort

_BEFORE: Final = {f"{MessageType.QUERY}.{ACTIONS[step]}" for step in (Step.ADVERTISE, Step.SHARE)}
_AFTER: Final = {f"{MessageType.QUERY}.{ACTIONS[step]}" for step in (Step.CONFIRM, Step.UNMASK)}
"""Legs of a secure sum, before and after the contributions; those of figures count to a round."""

Answered = Callable[[str, int], None]
"""Told which statistic was answered, and by how many devices so far."""


@dataclass(slots=True)
class Meter:
    """Adds up what the messages of rounds, and of each statistic, cost.

    Attributes:
        replies: Devices that were asked to train; one a device and round.
        cpu_s: Processor seconds of the process while answering them.
        down_bytes: Bytes of their records, to the device.
        up_bytes: Bytes of the replies' records.
        statistics: The same of each statistic, by its name.
    """

    replies: int = 0
    cpu_s: float = 0.0
    down_bytes: int = 0
    up_bytes: int = 0
    statistics: dict[str, "Meter"] = field(default_factory=dict)

    def per_device(self) -> dict[str, float] | None:
        """Return bytes and processor seconds of one device and round; None if none was asked."""
        if not self.replies:
            return None
        return {
            "down_bytes": self.down_bytes / self.replies,
            "up_bytes": self.up_bytes / self.replies,
            "cpu_s": self.cpu_s / self.replies,
        }

    def add(self, other: "Meter") -> None:
        """Add what was measured elsewhere, but for statistics."""
        self.replies += other.replies
        self.cpu_s += other.cpu_s
        self.down_bytes += other.down_bytes
        self.up_bytes += other.up_bytes


def record_bytes(content: RecordDict) -> int:
    """Return the bytes of a message's arrays and configs, without transport framing."""
    arrays = (array for record in content.array_records.values() for array in record.values())
    configs = sum(record.count_bytes() for record in content.config_records.values())
    return sum(len(array.data) for array in arrays) + configs


def statistic_asked(content: RecordDict) -> str | None:
    """Return which statistic an invitation asks for; None for a round."""
    record = content.config_records.get(INVITATION)
    name = None if record is None else record.get("statistic")
    return None if name is None else str(name)


def devices_asked(content: RecordDict) -> int:
    """Return how many devices a message is for: each would get its own, and send as much.

    Of what is no invitation it is 1: the node itself.
    """
    record = content.config_records.get(INVITATION)
    devices = None if record is None else record.get(DEVICES)
    return len(devices) if isinstance(devices, list) else 1


def metered(
    cohort: Cohort,
    meter: Meter,
    clock: Callable[[], float] = time.process_time,
    answered: Answered | None = None,
) -> Cohort:
    """Return ``cohort``, with the cost of its messages added to ``meter``.

    Args:
        cohort: Answers messages.
        meter: Is added to.
        clock: Processor seconds.
        answered: Told of each statistic how many devices answered so far; None tells nobody.
    """
    early = Meter()  # legs of a sum whose contributions are still to come
    current = meter

    def measured(work: list[tuple[Message, Context]]) -> list[Message | None]:
        nonlocal early, current
        kind = work[0][0].metadata.message_type if work else ""
        started = clock()
        replies = cohort(work)
        if kind not in {MessageType.TRAIN, *_BEFORE, *_AFTER}:
            return replies
        here = _measured(work, replies, clock() - started)
        if kind in _BEFORE:
            early.add(here)
            return replies
        if kind != MessageType.TRAIN:
            current.add(here)
            return replies
        here.replies = sum(devices_asked(message.content) for message, _ in work)
        name = statistic_asked(work[0][0].content)
        current = meter if name is None else meter.statistics.setdefault(name, Meter())
        current.add(early)
        current.add(here)
        early = Meter()
        if name is not None and answered is not None:
            answered(name, current.replies)
        return replies

    return measured


def _measured(
    work: list[tuple[Message, Context]], replies: list[Message | None], cpu_s: float
) -> Meter:
    pairs = zip(work, replies, strict=True)
    came = [(message, reply) for (message, _), reply in pairs if reply and reply.has_content()]
    return Meter(
        cpu_s=cpu_s,
        down_bytes=sum(devices_asked(one.content) * record_bytes(one.content) for one, _ in work),
        up_bytes=sum(devices_asked(one.content) * record_bytes(own.content) for one, own in came),
    )
