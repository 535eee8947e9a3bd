"""What the statistics of a run are, fixed before anything is released, by a documented rule."""

import math
from dataclasses import dataclass

from homebody_models.history import HistoryWindow

_MOST_RANK = 128
_HEAD_RATE = 18.0  # pairs grow as the square of the head, and what is seen of each as mu N
_LEAST_HEAD, _MOST_HEAD = 100, 2_000  # 2,000: 8 MB a device, once


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsSettings:
    """Settings of one-shot statistics. Public.

    Attributes:
        window: Weight that a step further between two events costs beyond 1/(1 + steps), in
            (0, 1]; 1 for none.
        head: Items whose pairs are counted, at least 0.
        history_decay: Weight of an event in ranking relative to the next newer one, in (0, 1].
        prior: One over the variance of an entry of an item's row before anything is known, above
            0: a larger one shrinks more.
        popularity_weight: Share of an item's level that its score adds, at least 0.
        rank: Width of the item table, in 1..128.
        repeat: What an item's share of the recency weights adds to its own score; 0 where items
            are not chosen again.
    """

    window: float
    head: int
    history_decay: float
    prior: float = 10.0
    popularity_weight: float = 0.5
    rank: int = 64
    repeat: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no device could compute or rank with."""
        if not 0.0 < self.window <= 1.0:
            raise ValueError(f"window must be in (0, 1], got {self.window!r}")
        if self.head < 0:
            raise ValueError(f"head must be at least 0, got {self.head}")
        if not 0.0 < self.prior < math.inf:
            raise ValueError(f"prior must be finite and above 0, got {self.prior!r}")
        if not 0.0 <= self.popularity_weight < math.inf:
            raise ValueError(
                f"popularity_weight must be finite and at least 0, got {self.popularity_weight!r}"
            )
        if not 1 <= self.rank <= _MOST_RANK:
            raise ValueError(f"rank must be in 1..{_MOST_RANK}, got {self.rank}")
        HistoryWindow(1, self.history_decay)  # the same range, checked in one place


def settings_for(
    *, mu: float, devices: int, items: int, features: int, repeats: bool
) -> StatisticsSettings:
    """Return the settings for a budget and a population, before anything is released.

    Args:
        mu: Gaussian loss the Gram release may cost, above 0; infinity without noise.
        devices: Population N. Public.
        items: Items of the catalog.
        features: Columns of public content.
        repeats: Whether items are chosen again.
    """
    del repeats
    signal = mu * devices
    head = _MOST_HEAD if math.isinf(signal) else round(_HEAD_RATE * math.sqrt(signal))
    return StatisticsSettings(
        window=1.0,
        head=min(items, max(_LEAST_HEAD, min(head, _MOST_HEAD))),
        history_decay=0.6,
        prior=20.0 if features else 10.0,
    )
