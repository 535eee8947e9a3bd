"""What is measured: one card a figure, with its target and where the target comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

HERE: Final = Path(__file__).parent
KEPT: Final = HERE / "cards"
CONFIGS: Final = HERE / "configs"

Kind = Literal["run", "baselines", "csv", "cold", "sweep"]

BY_RULE: Final = (
    "by the rule of settings_for and budget_shares, from epsilon, delta, devices and items; its "
    "constants were chosen on validation items of MovieLens and Online Retail, which is not charged"
)
"""How the settings of one-shot statistics were chosen."""

PROFILED: Final = (
    "statistics by rule; rounds by constants chosen on validation items of MovieLens 1M, which is "
    "not charged; which of the two models ships is chosen by figures noised and charged"
)
"""How the settings of a run with rounds were chosen."""

GOALS: Final = {1.0: 0.5, 3.0: 0.67, 8.0: 0.8}
"""What to reach of the best figure without privacy that was known before, by epsilon."""

EARLIER: Final = "best figure of the prototypes, same protocol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One figure.

    Attributes:
        name: Name of the card and of its file.
        kind: How it is measured.
        data: Data set.
        config: Name of the privacy config beside the cards.
        epsilon: User-level epsilon; None without differential privacy.
        recipe: How the run trains.
        refit: Whether it trains on all but the last event.
        seeds: Noise seeds.
        target: ndcg@10 to be above; None where there is none.
        gain: Share of the no-DP gain over popularity to keep; None where there is none.
        against: Card of the same training without noise.
        goal: Share of the figure of windowed EASE, without privacy, to reach; None for none.
        source: Where the target comes from; "" without one.
        chosen: How the settings were chosen.
        small: Whether it takes a minute or two, so that every run of the benchmark has it.
    """

    name: str
    kind: Kind = "run"
    data: str
    config: str = ""
    epsilon: float | None = None
    recipe: str = "statistics"
    refit: bool = True
    seeds: tuple[int, ...] = (0, 1, 2)
    target: float | None = None
    gain: float | None = None
    against: str | None = None
    goal: float | None = None
    source: str = ""
    chosen: str = BY_RULE
    small: bool = False


def _statistics(
    data: str, targets: dict[float | None, float | None], *, small: bool = False
) -> list[Card]:
    """Return the cards of one-shot statistics alone, one an epsilon."""
    return [
        Card(
            name=f"{data}-{'inf' if epsilon is None else f'eps{epsilon:g}'}",
            data=data,
            config=data,
            epsilon=epsilon,
            seeds=(0,) if epsilon is None else (0, 1, 2),  # without noise nothing is drawn
            target=target,
            source="" if target is None else EARLIER,
            against=None if epsilon is None else f"{data}-inf",
            goal=_goal(data, epsilon),
            small=small,
        )
        for epsilon, target in targets.items()
    ]


def _goal(data: str, epsilon: float | None) -> float | None:
    return GOALS.get(epsilon or 0.0) if data.startswith("movielens") else None


def _both(data: str, epsilon: float, target: float | None = None, *, small: bool = False) -> Card:
    return Card(
        name=f"{data}-eps{epsilon:g}-both",
        data=data,
        config=data,
        epsilon=epsilon,
        recipe="both",
        refit=False,
        target=target,
        source="" if target is None else EARLIER,
        goal=_goal(data, epsilon),
        chosen=PROFILED,
        small=small,
    )


CARDS: Final = (
    *_statistics(
        "movielens-100k", {1.0: 0.0506, 3.0: 0.0725, 8.0: 0.0853, None: 0.1124}, small=True
    ),
    *_statistics("movielens-1m", {1.0: 0.0724, 3.0: 0.0931, 8.0: 0.1085, None: 0.1511}),
    Card(
        name="movielens-1m-eps8-small",
        data="movielens-1m",
        config="movielens-1m-small",
        epsilon=8.0,
        against="movielens-1m-inf",
        goal=GOALS[8.0],
        chosen="as by the rule, but a head of 700 items: an upload of 1 MB",
    ),
    *_statistics("online-retail", {1.0: None, 4.0: 0.0648, 8.0: 0.0959, None: None}),
    Card(
        name="complete-journey-eps4",
        data="complete-journey",
        config="complete-journey",
        epsilon=4.0,
        gain=0.5,
        against="complete-journey-inf",
        source="at least half of the no-DP gain over popularity",
        small=True,
    ),
    Card(
        name="complete-journey-eps8",
        data="complete-journey",
        config="complete-journey",
        epsilon=8.0,
        gain=0.7,
        against="complete-journey-inf",
        source="at least 70 % of the no-DP gain over popularity",
        small=True,
    ),
    Card(
        name="complete-journey-inf",
        data="complete-journey",
        config="complete-journey",
        seeds=(0,),
        small=True,
    ),
    _both("complete-journey", 4.0),
    _both("complete-journey", 8.0),
    _both("movielens-100k", 1.0, 0.0506),
    _both("movielens-100k", 3.0, 0.0725),
    _both("movielens-100k", 8.0, 0.0853),
    _both("movielens-1m", 1.0, 0.0724),
    _both("movielens-1m", 3.0, 0.0931),
    _both("movielens-1m", 8.0, 0.1085),
    _both("online-retail", 4.0, 0.0648),
    _both("online-retail", 8.0, 0.0959),
    Card(
        name="cold-items-eps1",
        kind="cold",
        data="movielens-1m",
        config="movielens-1m",
        epsilon=1.0,
        target=0.153,
        source="content Gram of the prototypes, the same 370 items",
    ),
    Card(
        name="csv-2000-eps8",
        kind="csv",
        data="movielens-1m",
        config="events",
        epsilon=8.0,
        source="above popularity",
        chosen="by the rule, for data it was not made on: user, item and timestamp alone",
        small=True,
    ),
    *(
        Card(
            name=f"{data}-baselines",
            kind="baselines",
            data=data,
            seeds=(0,),
            chosen="on validation items, fitted again on all but the last event; no privacy",
            small=data == "movielens-100k",
        )
        for data in ("movielens-100k", "movielens-1m", "online-retail", "complete-journey")
    ),
    *(
        Card(
            name=f"{data}-sweep",
            kind="sweep",
            data=data,
            config=data,
            chosen=PROFILED,
            recipe="both",
            refit=False,
        )
        for data in ("complete-journey", "movielens-1m")
    ),
)

BY_NAME: Final = {card.name: card for card in CARDS}
