"""Places where lists are shown: one model, and for each place its own filters and limits."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from homebody_client.light_dataclass import dataclass
from homebody_privacy.errors import PolicyViolationError, UsageError

PRICING: Final = "pricing"
"""A surface that may exist only where the config allows it and its purpose is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What one place shows, and what it never does. Public.

    Attributes:
        name: What apps call it.
        hide_seen: Leave out what was chosen before, as long as that leaves a full list. Groceries
            are bought again: the place decides.
        category_cap: Most items of one category in ten; None for no cap. It gives way only where
            the catalog cannot fill the list otherwise, and the answer says so.
        mmr: Weight of diversity in [0, 1]: 0 ranks by score alone.
        explore: Chance in [0, 1) that a place of the list is drawn from the pool, to learn what
            else pleases; never in a list that is not personal.
        allow_categories: The only categories shown; empty for all.
        deny_categories: Categories never shown.
        deny_topics: Topics never shown.
        hide_sensitive: Never show an item of a sensitive topic or category.
        most_price: Nothing that costs more; None for no limit. Items without a price are shown.
    """

    name: str
    hide_seen: bool = False
    category_cap: int | None = None
    mmr: float = 0.0
    explore: float = 0.0
    allow_categories: frozenset[str] = frozenset()
    deny_categories: frozenset[str] = frozenset()
    deny_topics: frozenset[str] = frozenset()
    hide_sensitive: bool = False
    most_price: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not self.name:
            raise ValueError("name must not be empty")
        if self.category_cap is not None and self.category_cap < 1:
            raise ValueError("category_cap must be at least 1, or None")
        if not 0.0 <= self.mmr <= 1.0:
            raise ValueError(f"mmr must be in [0, 1], got {self.mmr!r}")
        if not 0.0 <= self.explore < 1.0:
            raise ValueError(f"explore must be in [0, 1), got {self.explore!r}")

    def cap(self, n: int) -> int | None:
        """Return the most items of one category in a list of ``n``; None for no cap.

        Examples:
            >>> Surface(name="home", category_cap=5).cap(10)
            5
            >>> Surface(name="home", category_cap=5).cap(3)
            2
        """
        return None if self.category_cap is None else max(1, math.ceil(self.category_cap * n / 10))


SURFACES: Final[Mapping[str, Surface]] = MappingProxyType(
    {
        surface.name: surface
        for surface in (
            Surface(name="home", category_cap=5, mmr=0.2),
            Surface(name="product"),
            Surface(name="cart", category_cap=5),
        )
    }
)
"""The surfaces every device has; an app passes its own table for others."""


def find_surface(
    name: str, surfaces: Mapping[str, Surface] = SURFACES, *, pricing_open: bool = False
) -> Surface:
    """Return a surface by name.

    Args:
        name: What apps call it.
        surfaces: The surfaces there are.
        pricing_open: Whether the config allows personal prices and their purpose is open.

    Raises:
        PolicyViolationError: If ``name`` is ``pricing`` and that is not open.
        UsageError: If there is no such surface.
    """
    if name == PRICING and not pricing_open:
        raise PolicyViolationError(
            "surface pricing: prices for one person are off unless the config allows them and "
            "their purpose is open",
            fix="show the same price to everybody",
        )
    if name not in surfaces:
        raise UsageError(
            "there is no such surface", fix=f"use one of {', '.join(sorted(surfaces))}"
        )
    return surfaces[name]
