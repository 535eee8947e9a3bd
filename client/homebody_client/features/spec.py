"""Declared features: what is computed from which rows, over which time, for which purposes.

=================  ==========================================================================
kind               value
=================  ==========================================================================
recency            days since the newest event, at most the window, which also means "none"
frequency          number of events
monetary           sums of price x quantity, or of amount, by currency ("" where unknown)
category_affinity  share of each category in what was liked, newer events counting more
session            ``count`` in the window; ``events``, ``seconds`` and ``shares`` (by category)
                   of the session that is going on
time_of_day        share of each hour, "0" to "23"
price_band         share of each band of price
device             share of each kind of device
role               1 for the newest role
=================  ==========================================================================

Everything is within the window that ends at the time asked for, that time included, its beginning
not. A spec holds no value of a person and can be listed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from homebody_client.events.vocabulary import EVENTS

Value = float | Mapping[str, float | Mapping[str, float]]
"""A feature's value, plain JSON. Secret."""

KINDS: Final = (
    "recency",
    "frequency",
    "monetary",
    "category_affinity",
    "session",
    "time_of_day",
    "price_band",
    "device",
    "role",
)
"""What can be computed."""

DAY_S: Final = 86_400
SESSION_GAP_S: Final = 1_800
"""Seconds without an event that end a session."""

_MOST_DAYS: Final = 3_650
_MOST_HALVINGS: Final = 20  # then the oldest event still weighs a millionth
_is_name: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z").match


class Row(Protocol):
    """One row of the store, as far as features need it."""

    @property
    def at(self) -> float:
        """Unix seconds, as exact as its group keeps them."""

    @property
    def values(self) -> Mapping[str, str | int | float | bool | None]:
        """What is kept of the event; ``event`` is its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """One declared feature. Public.

    Attributes:
        name: What it is called; lower case, digits, underscores.
        group: Feature group of ``privacy.toml`` whose rows it reads.
        events: Kinds of event it counts.
        kind: One of ``KINDS``.
        window_days: How far it looks back, 1 to 3650.
        purposes: What it may be used for.
        ttl_days: Days its value may be kept; at most ``window_days``.
        half_life_days: Of ``category_affinity``: days after which an event counts half; 0 for no
            decay. At least a twentieth of the window.
    """

    name: str
    group: str
    events: tuple[str, ...]
    kind: str
    window_days: int
    purposes: tuple[str, ...]
    ttl_days: int
    half_life_days: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        names = (self.name, self.group, *self.purposes)
        if not all(isinstance(name, str) and _is_name(name) for name in names):
            raise ValueError("name, group and purposes must be lower case, digits, underscores")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if not self.events or not set(self.events) <= set(EVENTS):
            raise ValueError("events must name kinds of event of the vocabulary")
        if not self.purposes:
            raise ValueError("purposes must name at least one purpose")
        if not 1 <= self.window_days <= _MOST_DAYS:
            raise ValueError(f"window_days must be from 1 to {_MOST_DAYS}")
        if not 1 <= self.ttl_days <= self.window_days:
            raise ValueError("ttl_days must be from 1 to window_days")
        if self.half_life_days and self.kind != "category_affinity":
            raise ValueError("half_life_days is of category_affinity alone")
        if self.half_life_days and not self.half_life_days * _MOST_HALVINGS >= self.window_days:
            raise ValueError("half_life_days must be 0 or at least a twentieth of window_days")

    @property
    def window_s(self) -> float:
        """Seconds it looks back."""
        return float(self.window_days * DAY_S)

    def reads(self, row: Row) -> bool:
        """Return whether a row is counted: its kind is, and its group where the row names one."""
        if getattr(row, "feature", self.group) != self.group:
            return False
        return row.values.get("event") in self.events

    def describe(self) -> dict[str, object]:
        """Return the declaration as plain JSON, for listings; it holds no value of a person."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in plain.items()}
