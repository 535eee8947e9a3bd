"""What a round costs a device: bytes and processor time, measured where the device's code runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flwr.app import Context, Message, MessageType, RecordDict

from homebody_privacy.legs import ACTIONS, Step
from homebody_simulation.grid import Cohort

_SUMS: Final = (Step.ADVERTISE, Step.SHARE, Step.CONFIRM, Step.UNMASK)
_ROUND: Final = {MessageType.TRAIN, *(f"{MessageType.QUERY}.{ACTIONS[step]}" for step in _SUMS)}
"""Messages of a round; of a sealed one all legs of its secure sum, and of its figures' sums."""


@dataclass(slots=True)
class Meter:
    """Adds up what the messages of rounds cost.

    Attributes:
        replies: Training messages answered; one a device and round.
        cpu_s: Processor seconds of the process while answering them.
        down_bytes: Bytes of their records, to the device.
        up_bytes: Bytes of the replies' records.
    """

    replies: int = 0
    cpu_s: float = 0.0
    down_bytes: int = 0
    up_bytes: int = 0

    def per_device(self) -> dict[str, float] | None:
        """Return bytes and processor seconds of one device and round; None if none was asked."""
        if not self.replies:
            return None
        return {
            "down_bytes": self.down_bytes / self.replies,
            "up_bytes": self.up_bytes / self.replies,
            "cpu_s": self.cpu_s / self.replies,
        }


def record_bytes(content: RecordDict) -> int:
    """Return the bytes of a message's arrays and configs, without transport framing."""
    arrays = (array for record in content.array_records.values() for array in record.values())
    configs = sum(record.count_bytes() for record in content.config_records.values())
    return sum(len(array.data) for array in arrays) + configs


def metered(cohort: Cohort, meter: Meter, clock: Callable[[], float] = time.process_time) -> Cohort:
    """Return ``cohort``, with the cost of the messages of rounds added to ``meter``."""

    def measured(work: list[tuple[Message, Context]]) -> list[Message | None]:
        kind = work[0][0].metadata.message_type if work else ""
        started = clock()
        replies = cohort(work)
        if kind in _ROUND:
            meter.cpu_s += clock() - started
            for (message, _), reply in zip(work, replies, strict=True):
                meter.replies += kind == MessageType.TRAIN
                meter.down_bytes += record_bytes(message.content)
                if reply is not None and reply.has_content():
                    meter.up_bytes += record_bytes(reply.content)
        return replies

    return measured
