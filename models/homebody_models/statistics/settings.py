"""What the statistics of a run are, fixed before anything is released, by a documented rule."""

import math
from dataclasses import dataclass
from typing import Final

from homebody_models.history import HistoryWindow

_MOST_RANK: Final = 128
_HEAD_RATE: Final = 18.0
_LEAST_HEAD: Final = 100
_MOST_HEAD: Final = 2_000
_DECAY: Final = 0.6
_PRIOR: Final = 10.0
_PRIOR_WITH_CONTENT: Final = 20.0
_REPEAT: Final = 20.0


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

    One rule for all data: it looks at public facts alone, so it costs no privacy. Each number was
    chosen on the validation items of MovieLens 1M and 100K, Online Retail and Complete Journey and
    tried on parts of 2,000 to 4,000 users without content; the test items were not looked at.

    - head = 18 sqrt(mu N), in 100..2,000 and at most the catalog. A pair is seen at mu N / head^2
      over its noise, so that the head may grow with the root. Best heads: Online Retail 1,400 at
      epsilon 8, 1,000 at 4, 700 at 2, 300 at 1; MovieLens 1M 1,500 at 8, 1,000 to 1,500 at 3, 700
      at 1. Half of the best costs a tenth. The cap keeps the upload at 8 MB, once in a run.
    - window = 1: closeness falls as 1/(1 + steps), without a length of its own. Above the best
      exponential window on Online Retail, and on MovieLens 1M at epsilon 3 and 1 (1 % below at 8);
      any one exponential is too short for some data or too long for others.
    - history_decay = 0.6: best on films and groceries; baskets want 0.5 (+5 %), and data without
      an order 0.9 (synthetic: 0.6 costs 11 %, and still beats popularity).
    - prior = 10, with content 20. Twice as much erases the rows of a catalog without content
      (Online Retail at epsilon 4: .107 to .068); content carries what the prior takes away.
    - popularity_weight = 0.5: 0.25 to 0.5 are within 1 %, 0.75 costs 4 % on Online Retail and
      more on Complete Journey's new items, 1 costs 8 % on MovieLens 1M.
    - rank = 64: 128 gained nothing at these priors.
    - repeat = 20 where items are chosen again, else 0: anything in 10..40 is within 1 %, as what
      a device chose before stands above what it did not.

    Args:
        mu: Gaussian loss the Gram release may cost, above 0; infinity without noise.
        devices: Population N. Public.
        items: Items of the catalog.
        features: Columns of public content.
        repeats: Whether items are chosen again.
    """
    signal = mu * devices
    head = _MOST_HEAD if math.isinf(signal) else round(_HEAD_RATE * math.sqrt(signal))
    return StatisticsSettings(
        window=1.0,
        head=min(items, max(_LEAST_HEAD, min(head, _MOST_HEAD))),
        history_decay=_DECAY,
        prior=_PRIOR_WITH_CONTENT if features else _PRIOR,
        repeat=_REPEAT if repeats else 0.0,
    )
