"""What lists are made from, kept in memory between two of them: rows that are open for it now.

Nothing here outlives a change of consent, a correction or an erasure: whoever changes rows drops
it. It is read again through the read gate, which applies retention, at least once a minute.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from homebody_client.serving.interactions import Interaction, interaction_of
from homebody_client.store import StoredRow, Value
from homebody_privacy.consent_terms import DAY_S

_FRESH_S: Final = 60.0  # a row may be served at most this long after its time is over


class Memory:
    """The interactions of one person, oldest first. Secret.

    Args:
        read: Returns the rows that are open now.
        now: The clock in force, Unix seconds.
    """

    __slots__ = ("_at", "_epoch", "_held", "_now", "_read")

    def __init__(self, read: Callable[[], Sequence[StoredRow]], now: Callable[[], float]) -> None:
        """Start with nothing read."""
        self._read = read
        self._now = now
        self._held: list[Interaction] | None = None
        self._epoch = -1
        self._at = 0.0

    def interactions(self, epoch: int) -> Sequence[Interaction]:
        """Return what is open under the consent of ``epoch``.

        Raises:
            ConsentMissingError: If nothing is.
            IntegrityError: If the store is damaged.
        """
        now = self._now()
        if self._held is None or epoch != self._epoch or not 0.0 <= now - self._at < _FRESH_S:
            self._held = interactions_of(self._read())
            self._epoch, self._at = epoch, now
        return self._held

    def holds(self, epoch: int) -> bool:
        """Return whether anything is held under the consent of ``epoch``."""
        return self._held is not None and epoch == self._epoch

    def add(self, interaction: Interaction, epoch: int) -> None:
        """Take in what was just recorded, if what is held is of the same consent."""
        if self._held is None or epoch != self._epoch:
            return
        if self._held and self._held[-1].at > interaction.at:
            self._held = None  # it belongs between others
        else:
            self._held.append(interaction)

    def drop(self) -> None:
        """Forget everything."""
        self._held = None


def event_time(row: Mapping[str, Value], collected: float) -> float:
    """Return when it happened, as exactly as its feature group keeps it, Unix seconds.

    Args:
        row: What is kept. Secret.
        collected: When it was kept: the answer where the group keeps no time, or where it keeps the
            day and the event was told on that day. The ``hour`` is that of the person's clock, not
            of the day, which is counted in UTC: the two do not add up to a time.

    Examples:
        >>> event_time({"day": 20000}, 20000 * 86400 + 3600.0) == 20000 * 86400 + 3600.0
        True
        >>> event_time({"day": 20000, "hour": 3}, 20007 * 86400.0) == 20000 * 86400
        True
    """
    timestamp, day = row.get("timestamp"), row.get("day")
    if isinstance(timestamp, int | float):
        return float(timestamp)
    if isinstance(day, int) and collected // DAY_S != day:
        return float(day * DAY_S)
    return collected


def interactions_of(rows: Iterable[StoredRow]) -> list[Interaction]:
    """Return what rows say about products, oldest first; an event kept in two groups counts once.

    Args:
        rows: Rows of one or more feature groups.
    """
    taken: Counter[tuple[float, str, str]] = Counter()  # over all groups so far
    seen: Counter[tuple[str, float, str, str]] = Counter()  # within one group
    found = []
    for row in rows:
        interaction = interaction_of(row.values, event_time(row.values, row.at))
        if interaction is None:
            continue
        what = (interaction.at, interaction.event, interaction.product_id)
        seen[row.feature, *what] += 1
        if seen[row.feature, *what] > taken[what]:
            taken[what] += 1
            found.append((interaction.at, row.seq, interaction))
    return [interaction for _, _, interaction in sorted(found, key=lambda one: one[:2])]
