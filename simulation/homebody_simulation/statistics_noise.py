"""How much noise a run's one-shot statistics get, and what they are: before their release."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from homebody_models.statistics.settings import StatisticsSettings, settings_for
from homebody_models.statistics.space import packed_length
from homebody_privacy.charges import Charge
from homebody_privacy.closed_form import gaussian_mu
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.messages import STATISTICS
from homebody_privacy.solving import solve_correlated_multiplier
from homebody_privacy.statistics_config import Statistics
from homebody_server.run_spec import SAMPLER_EPSILON, accounted_delta
from homebody_server.statistic_plan import StatisticPass
from homebody_simulation.budget_shares import Shares, budget_shares
from homebody_simulation.datasets import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsPlan:
    """The statistics of a run. Public.

    Attributes:
        passes: Popularity, then Gram.
        shares: What they were solved from; None where the config fixes the noise, or without.
        settings: What they are.
    """

    passes: tuple[StatisticPass, ...]
    shares: Shares | None
    settings: StatisticsSettings

    def fields(self) -> dict[str, float]:
        """Return what was found by rule, as fields of ``[statistics]``."""
        found: dict[str, float] = {"window": self.settings.window, "head": self.settings.head}
        for one in self.passes:
            if one.noise_multiplier:
                found[f"{one.name}_multiplier"] = one.noise_multiplier
        if self.shares is not None:
            found["popularity_share"] = self.shares.popularity
            if self.shares.rounds:
                found["rounds_share"] = self.shares.rounds
        return found

    def longest(self, items: int, features: int) -> dict[str, int]:
        """Return how many entries each released sum has, by name."""
        del features
        return {"popularity": items, "gram": packed_length(min(self.settings.head, items))}


def plan_statistics(
    config: PrivacyConfig,
    dataset: Dataset,
    *,
    epsilon: float | None,
    figures: Sequence[Charge],
) -> StatisticsPlan | None:
    """Fix the statistics of a run: noise from the shares of the budget, the rest by rule.

    Args:
        config: Config of the run. Where it fixes something, that is used.
        dataset: Its catalog and how many devices it has are read, no history.
        epsilon: Budget of the run at user level, total; None without differential privacy.
        figures: What the run's figures cost.

    Returns:
        The plan; None for a config of rounds alone.

    Raises:
        InfeasibleError: If figures take the budget.
    """
    own = config.statistics
    if own is None:
        return None
    catalog, devices = dataset.interactions.catalog, dataset.interactions.devices
    multipliers, shares = (0.0, 0.0), None
    if epsilon is not None and own.popularity_multiplier and own.gram_multiplier:
        multipliers = (own.popularity_multiplier, own.gram_multiplier)
    elif epsilon is not None:
        multipliers, shares = _solved(config, own, epsilon, figures, devices, len(catalog))
    gram = multipliers[1]
    base = settings_for(
        mu=1.0 / gram if gram else math.inf,
        devices=devices,
        items=len(catalog),
        features=catalog.features.shape[1],
        repeats=dataset.interactions.repeats,
    )
    window = base.window if own.window is None else own.window
    head = min(len(catalog), base.head if own.head is None else own.head)
    return StatisticsPlan(
        passes=tuple(
            StatisticPass(name=name, noise_multiplier=noise, lattice_bits=config.dp.lattice_bits)
            for name, noise in zip(STATISTICS, multipliers, strict=True)
        ),
        shares=shares,
        settings=replace(base, window=window, head=head),
    )


def statistics_charges(passes: tuple[StatisticPass, ...], runs: int) -> list[Charge]:
    """Return what the passes of one run and of ``runs`` tuning runs like it cost."""
    own: list[Charge] = [one.charge() for one in passes]
    tuned = [replace(one.charge(runs), part="tuning") for one in passes]
    return [*own, *tuned] if runs else own


def _solved(
    config: PrivacyConfig,
    own: Statistics,
    epsilon: float,
    figures: Sequence[Charge],
    devices: int,
    items: int,
) -> tuple[tuple[float, float], Shares]:
    """Return the noise of both passes, for their shares of what the figures leave."""
    dp = config.dp
    room, delta = epsilon - SAMPLER_EPSILON, accounted_delta(dp.delta)
    runs = 1 + (dp.tuning_runs if dp.tuning_data == "private" else 0)

    def noise(share: float, others: Sequence[Charge]) -> float:
        """Return the noise that spends a share: the loss falls with the root of it."""
        sensitivity = math.sqrt(runs / share)
        return solve_correlated_multiplier(room, delta, sensitivity=sensitivity, others=others)

    whole = 1.0 / noise(1.0, figures) if figures else gaussian_mu(room, delta)
    shares = budget_shares(own.recipe, mu=whole, devices=devices, items=items)
    shares = Shares(
        popularity=own.popularity_share or shares.popularity,
        rounds=own.rounds_share or shares.rounds,
    )
    popularity = noise(shares.popularity, figures)
    if own.recipe == "both":
        return (popularity, noise(shares.gram, figures)), shares
    first = StatisticPass(
        name="popularity", noise_multiplier=popularity, lattice_bits=dp.lattice_bits
    )
    # The last release takes exactly what is left, rounding included.
    spent = first.charge(runs)
    return (popularity, noise(1.0, [*figures, spent])), shares
