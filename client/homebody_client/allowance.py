"""What the config in force lets one device do in a run, and how much of its life that costs.

Every figure comes from the config on the device and the size of the model; the server's word
decides nothing but the run's name.
"""

from homebody_privacy.adaptive_clip import AdaptiveClip
from homebody_privacy.blt import charged_sensitivity, fine_bits
from homebody_privacy.charges import GaussianReleases, PoissonRounds
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.config_sections import Metric
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.messages import StatisticName
from homebody_privacy.protection import Protection

from .participation import Allowance


def training_allowance(config: PrivacyConfig, run: str, dim: int) -> Allowance:
    """Return what the config allows in the rounds of a run.

    Args:
        config: Config in force; it must fix the noise.
        run: Name of the run.
        dim: Parameters of the model.

    Raises:
        PolicyViolationError: If the config leaves the noise or its strategy open.
    """
    dp = config.dp
    if dp.noise_multiplier is None:
        raise PolicyViolationError(
            "the config in force does not fix dp.noise_multiplier: a device cannot count its loss",
            fix="run homebody plan --write and approve the file it writes",
        )
    if dp.mechanism == "blt":
        per_run, per_join = _loss_of_run(dp, dp.noise_multiplier, dim), 0.0
    else:
        per_run, per_join = 0.0, _loss_of_join(dp, dp.noise_multiplier)
    return Allowance(
        run=run,
        rounds=dp.rounds,
        min_separation=dp.min_separation,
        max_rounds=dp.max_rounds_per_device,
        loss_per_run=per_run,
        loss_per_join=per_join,
        delta=dp.delta,
        epsilon_max=_ceiling(dp),
    )


def metric_allowance(config: PrivacyConfig, run: str, name: str, metric: Metric) -> Allowance:
    """Return what the config allows for one metric of a run: each release is a round of its own.

    Where statistics come before the rounds, one may be about the model they lead to.

    Raises:
        PolicyViolationError: If all there are would be fewer people than a figure may be about.
    """
    if config.activity.population < config.release.min_k:
        raise PolicyViolationError("a figure would be about fewer people than release.min_k")
    dp = config.dp
    loss = GaussianReleases(noise_multiplier=metric.noise_multiplier).squared_loss ** 0.5
    return Allowance(
        run=f"{run}|{name}",
        rounds=dp.rounds,
        min_separation=1,
        max_rounds=metric.releases_per_run,
        loss_per_run=0.0,
        loss_per_join=loss,
        delta=dp.delta,
        epsilon_max=_ceiling(dp),
        first=1 if config.statistics is None else 0,
    )


def statistics_allowance(
    config: PrivacyConfig, run: str, name: StatisticName, *, again: bool
) -> Allowance:
    """Return what the config allows for one statistic of a run: one join, before the first round.

    Args:
        config: Config in force; it must list statistics and fix their noise.
        run: Name of the run.
        name: Which statistic.
        again: Whether it may be answered again with the same broadcast, after a crash.

    Raises:
        PolicyViolationError: If the config lists no statistics, or leaves their noise open.
    """
    section = config.statistics
    if section is None:
        raise PolicyViolationError("the config in force does not list statistics")
    multipliers = {
        "popularity": section.popularity_multiplier,
        "gram": section.gram_multiplier,
    }
    multiplier = multipliers[name]
    if multiplier is None:
        raise PolicyViolationError(
            f"the config in force does not fix statistics.{name}_multiplier: a device cannot count "
            "its loss",
            fix="run homebody plan --write and approve the file it writes",
        )
    dp = config.dp
    loss = GaussianReleases(noise_multiplier=multiplier, part="statistics").squared_loss ** 0.5
    return Allowance(
        run=f"{run}|statistics/{name}",
        rounds=1,
        min_separation=1,
        max_rounds=1,
        loss_per_run=0.0,
        loss_per_join=loss,
        delta=dp.delta,
        epsilon_max=_ceiling(dp),
        first=0,
        again=again,
    )


def _ceiling(dp: Protection) -> float | None:
    if dp.device_epsilon_max is not None:
        return dp.device_epsilon_max
    return dp.epsilon_max if dp.mechanism == "blt" else None


def _loss_of_run(dp: Protection, noise_multiplier: float, dim: int) -> float:
    """Return mu of a whole run of correlated noise."""
    if dp.blt is None:
        raise PolicyViolationError(
            "the config in force does not fix dp.blt: a device cannot count its loss",
            fix="run homebody plan --write and approve the file it writes",
        )
    strategy, part = dp.blt.parameters(), dp.participation
    bits = fine_bits(strategy, part, dim=dim, lattice_bits=dp.lattice_bits)
    moved = charged_sensitivity(
        strategy, part, dim=dim, lattice_bits=dp.lattice_bits, fine_bits=bits
    )
    return moved / noise_multiplier


def _loss_of_join(dp: Protection, noise_multiplier: float) -> float:
    """Return mu of one joined round of independent noise; its count included, if it has one."""
    count = AdaptiveClip.for_cohort(dp.cohort_size).count_multiplier if dp.adaptive_clip else None
    one = PoissonRounds(
        population=dp.cohort_size,  # the rate does not matter: nothing is taken for sampling
        cohort_size=dp.cohort_size,
        cohort_cap=dp.cohort_cap,
        noise_multiplier=noise_multiplier,
        count_multiplier=count,
        rounds=1,
    )
    return float(one.squared_loss**0.5)
