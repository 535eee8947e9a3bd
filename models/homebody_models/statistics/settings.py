"""What the statistics of a run are, fixed before anything is released, by a documented rule."""

from dataclasses import dataclass

from homebody_models.history import HistoryWindow

_MOST_RANK = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsSettings:
    """Settings of one-shot statistics. Public.

    Attributes:
        window: Weight of a pair of events relative to one a step closer, in (0, 1].
        head: Items with a coordinate of their own, at least 0.
        history_decay: Weight of an event in ranking relative to the next newer one, in (0, 1].
        ridge: Strength at which a direction counts half, above 0.
        rank: Width of the item table, in 1..128.
        repeat: What an item's share of the recency weights adds to its own score; 0 where items
            are not chosen again.
    """

    window: float
    head: int
    history_decay: float
    ridge: float = 10.0
    rank: int = 128
    repeat: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no device could compute or rank with."""
        if not 0.0 < self.window <= 1.0:
            raise ValueError(f"window must be in (0, 1], got {self.window!r}")
        if self.head < 0:
            raise ValueError(f"head must be at least 0, got {self.head}")
        if not self.ridge > 0.0:
            raise ValueError(f"ridge must be above 0, got {self.ridge!r}")
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
    del features, repeats
    head = min(items, 1_000 if mu * devices > 3_000 else 672)  # noqa: PLR2004 first rule
    return StatisticsSettings(window=0.93, head=head, history_decay=0.8)
