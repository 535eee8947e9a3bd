"""Read what a reply holds; anything but one array of integers is as if nobody had answered."""

import numpy as np
import numpy.typing as npt
from flwr.app import Message

from homebody_privacy import messages


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
