"""One call for a list: where it is shown, how long it is, and what the moment is like."""

import math
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Final, Literal

from homebody_client.light_dataclass import dataclass

if TYPE_CHECKING:
    import numpy as np

MOST: Final = 1_000
"""Longest list."""

_LAST_HOUR: Final = 23
_FULL: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A call for one list. What the person does stays out of ``repr``.

    Attributes:
        surface: Name of the place.
        n: Length of the list, 1 to 1,000.
        now: Unix seconds.
        hour: Hour of the day where the person is, 0 to 23; None if not known.
        device: Kind of device, such as ``mobile``; None if not known.
        strength: 0 = the same list for all, 100 = fully personal.
        product_id: What is shown beside the list, on the surface ``product``.
        cart: What is in the cart, on the surface ``cart``; never listed.
        blocked: Products never listed in this answer.
        facts: What rules may ask about: segment, role, derived on the device.
        arm: ``model``, or ``rules`` for the control arm: the list for all, with the rules applied.
        experiment: Name of the experiment's arm, handed back with the list.
        rng: Randomness of exploration; needed where a surface explores.
    """

    now: float
    surface: str = "home"
    n: int = 10
    hour: int | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)
    strength: int = _FULL
    product_id: str | None = field(default=None, repr=False)
    cart: tuple[str, ...] = field(default=(), repr=False)
    blocked: frozenset[str] = field(default=frozenset(), repr=False)
    facts: Mapping[str, object] = field(default_factory=dict, repr=False)
    arm: Literal["model", "rules"] = "model"
    experiment: str | None = None
    rng: "np.random.Generator | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no list can answer."""
        if not 1 <= self.n <= MOST:
            raise ValueError(f"n must be in 1..{MOST}, got {self.n}")
        if not math.isfinite(self.now):
            raise ValueError("now must be finite")
        if not 0 <= self.strength <= _FULL:
            raise ValueError(f"strength must be in 0..{_FULL}, got {self.strength}")
        if self.hour is not None and not 0 <= self.hour <= _LAST_HOUR:
            raise ValueError("hour must be in 0..23")
        if self.arm not in {"model", "rules"}:
            raise ValueError("arm must be model or rules")
