"""An event: one thing that happened on the device."""

import copy
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from homebody_client.light_dataclass import dataclass

SOURCES: Final = ("app", "web", "crm", "tickets", "api")
"""Where an event can come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. Secret; ``repr`` shows its kind and its source alone.

    Made by ``parse_event``, which checks every field. Two events are equal if they say the same,
    however their JSON wrote the time.

    Attributes:
        event: Its kind, a key of ``EVENTS``.
        user_id: Whose it is. Never stored.
        timestamp: Unix seconds.
        event_id: As given; else the SHA-256 of what it says, as hex, so that the same event told
            twice has one id.
        source: Where it came from, one of ``SOURCES``.
        fields: Fields of its kind, and ``device`` and ``session_id``.
        ext: Fields unknown to the vocabulary, kept in lax mode. Never stored.
        given: The JSON it was read from.
    """

    event: str
    user_id: str = field(repr=False)
    timestamp: float = field(repr=False)
    event_id: str = field(repr=False)
    source: str
    fields: Mapping[str, Any] = field(repr=False)
    ext: Mapping[str, Any] = field(repr=False)
    given: Mapping[str, Any] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a kind or a source that does not exist."""
        from .vocabulary import EVENTS  # noqa: PLC0415 who only names the class does without

        if self.event not in EVENTS:
            raise ValueError("event must be one of the vocabulary")
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}")


def event_json(event: Event) -> dict[str, Any]:
    """Return the JSON an event was read from, in the order of its keys.

    Returns:
        A copy; changing it leaves the event as it is. Secret.
    """
    return copy.deepcopy(dict(event.given))
