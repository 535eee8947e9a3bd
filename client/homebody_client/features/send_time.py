"""When a message is welcome: the hour at which the person is usually here, computed on the device.

Each hour of each day counts once, so that one long evening does not decide; newer days count more;
an hour borrows from its neighbours. Quiet hours are never chosen, whatever the rows say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .readings import LABELS
from .spec import DAY_S, Row

_HALF_LIFE_DAYS: Final = 28.0
_LEAST_DAYS: Final = 3
_HOURS: Final = 24
_MIDDLE: Final = 0.5
_BESIDE: Final = 0.25


@dataclass(frozen=True, slots=True)
class SendTime:
    """An hour at which a message is welcome. Secret.

    Attributes:
        hour: Hour on the person's clock, 0 to 23.
        share: Share of what was seen that lies in it, neighbours included in part.
    """

    hour: int = field(repr=False)
    share: float = field(repr=False)


def best_send_time(
    rows: Iterable[Row], *, now: float, quiet: tuple[int, int] = (22, 8)
) -> SendTime | None:
    """Return the best hour to send something; None if too little is known to say.

    The caller reads the rows through the read gate of purpose ``notifications``: closed, there is
    nothing to read and nothing to send.

    Args:
        rows: Rows that hold ``hour`` (or ``timestamp``, then in UTC). Secret.
        now: Unix seconds; later rows do not count.
        quiet: First quiet hour, and the first hour after; equal means none.

    Raises:
        ValueError: If a quiet hour is not from 0 to 23.
    """
    if not all(0 <= hour < _HOURS for hour in quiet):
        raise ValueError("quiet hours must be from 0 to 23")
    seen: set[tuple[int, int]] = set()
    for row in rows:
        label = LABELS["time_of_day"](row.values)
        if label is not None and row.at <= now:
            seen.add((int(row.at // DAY_S), int(label)))
    if len({day for day, _ in seen}) < _LEAST_DAYS:
        return None
    weights = [0.0] * _HOURS
    for day, hour in seen:
        weights[hour] += float(2.0 ** (-(now / DAY_S - day) / _HALF_LIFE_DAYS))
    smooth = [
        _MIDDLE * weights[hour] + _BESIDE * (weights[hour - 1] + weights[(hour + 1) % _HOURS])
        for hour in range(_HOURS)
    ]
    awake = [hour for hour in range(_HOURS) if not _is_quiet(hour, quiet)]
    best = max(awake, key=lambda hour: (smooth[hour], -hour))
    whole = sum(smooth)
    return SendTime(best, smooth[best] / whole) if smooth[best] else None


def _is_quiet(hour: int, quiet: tuple[int, int]) -> bool:
    first, after = quiet
    return (hour - first) % _HOURS < (after - first) % _HOURS
