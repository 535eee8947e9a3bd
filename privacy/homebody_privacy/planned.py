"""What a run of a config would cost, before anything runs: computed from the file, never declared.

Without secret cohorts the figure is exact and in closed form (``closed_form``), so a check loads no
accountant. With them it is composed by the reference accountant, or bounded without it. The
rounding of a correlated run's noise, at most 1e-4 of the sensitivity, depends on the size of the
model, which no file names: a run charges it besides, and keeps to the cap with it.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from .blt import sensitivity
from .charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from .closed_form import epsilon_unamplified, gaussian_mu
from .errors import PolicyViolationError
from .premises import broken_premises
from .withdrawal_words import odds_in_100

if TYPE_CHECKING:
    from .config import PrivacyConfig

Method = Literal["closed form", "pld", "bound without sampling"]
"""How a figure was computed; each errs upward or not at all."""

_YEAR_DAYS: Final = 365
_MOST_RUNS: Final = 10_000  # of one budget; more are as good as no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLoss:
    """Privacy loss of one run, and how many fit under the cap. User level, zero-out adjacency.

    Attributes:
        epsilon: Upper bound for one run: statistics, rounds, metrics and charged tuning together.
        epsilon_unamplified: The same toward whoever sees who takes part; not below ``epsilon``.
        delta: Failure chance of both.
        mu: Strength of the run as one Gaussian release; None where cohorts are secret.
        best_guess: Most often in 100 that a guess which began even is right after one run; rounded
            up.
        cap: Epsilon nothing may pass, over the budget's scope.
        cap_guess: ``best_guess`` at the cap.
        runs_to_cap: Runs that fit under the cap; None where each run has a budget of its own.
        years_to_cap: How long they last at the file's interval between fresh starts; None without
            one.
        method: How ``epsilon`` was computed.
    """

    epsilon: float
    epsilon_unamplified: float
    delta: float
    mu: float | None
    best_guess: int
    cap: float
    cap_guess: int
    runs_to_cap: int | None
    years_to_cap: float | None
    method: Method


def withheld(config: "PrivacyConfig", population: int | None = None) -> tuple[str, ...]:
    """Return the ids of the rules whose failure leaves every figure of a config without a meaning.

    Args:
        config: A config that follows its schema.
        population: Devices, where more are known than the file says.

    Returns:
        The broken premises, and ``DP-004`` where delta lets one whole person go; sorted, none
        twice.
    """
    broken = {one.rule for one in broken_premises(config)}
    if config.dp.delta * max(population or 0, config.activity.population) >= 1.0:
        broken.add("DP-004")
    return tuple(sorted(broken))


def planned_charges(
    config: "PrivacyConfig", *, population: int | None = None
) -> list[Charge] | None:
    """Return everything one run of a config charges, as far as the file says it.

    Args:
        config: A config whose premises hold.
        population: Enrolled devices; by default the file's.

    Returns:
        The charges; None where the file leaves noise to be solved.

    Raises:
        PolicyViolationError: If a premise is broken, or a cohort is larger than the population.
    """
    _require(config, population)
    tuned = config.dp.tuning_runs if config.dp.tuning_data == "private" else 0
    statistics = _statistics(config, tuned)
    if statistics is None:
        return None
    metrics: list[Charge] = [
        GaussianReleases(noise_multiplier=one.noise_multiplier, releases=one.releases_per_run)
        for one in config.metrics.values()
    ]
    if config.recipe == "statistics":
        return [*statistics, *metrics]
    people = config.activity.population if population is None else population
    sampled = config.dp.mechanism == "gaussian"
    rounds = _sampled(config, people) if sampled else _correlated(config)
    if rounds is None:
        return None
    again = [replace(_times(rounds, tuned), part="tuning")] if tuned else []
    return [*statistics, rounds, *again, *metrics]


def planned_loss(
    config: "PrivacyConfig", *, fast: bool = False, population: int | None = None
) -> PlannedLoss | None:
    """Compute what one run of a config costs a person at most.

    Args:
        config: A config that follows its schema.
        fast: Take no credit for secret cohorts: an upper bound without an accountant. Where there
            are none it changes nothing.
        population: Enrolled devices; by default the file's.

    Returns:
        The figures; None where the file leaves noise to be solved.

    Raises:
        PolicyViolationError: If a premise of the figures is broken: then there are none.
    """
    charges = planned_charges(config, population=population)
    if charges is None:
        return None
    dp = config.dp
    bare = epsilon_unamplified(charges, dp.delta)
    sampled = any(isinstance(charge, PoissonRounds) for charge in charges)
    epsilon, method = bare, _method(sampled=sampled, fast=fast)
    if method == "pld":
        from .accounting import spent_epsilon  # noqa: PLC0415 - loads dp-accounting, 1 to 3 s

        epsilon = min(bare, spent_epsilon(charges, dp.delta))
    runs = _runs_to_cap(config, charges, method)
    rights = config.rights
    days = rights.retrain_every_days if rights.trained_model == "retrain_window" else 0
    return PlannedLoss(
        epsilon=epsilon,
        epsilon_unamplified=bare,
        delta=dp.delta,
        mu=None if sampled else _mu(charges),
        best_guess=odds_in_100(epsilon),
        cap=dp.epsilon_max,
        cap_guess=odds_in_100(dp.epsilon_max),
        runs_to_cap=runs,
        years_to_cap=None if runs is None or not days else runs * days / _YEAR_DAYS,
        method=method,
    )


def _require(config: "PrivacyConfig", population: int | None) -> None:
    rules = withheld(config, population)
    if rules:
        raise PolicyViolationError(
            f"no privacy loss is computed: {', '.join(rules)} failed, and a figure would be about "
            "another mechanism",
            fix="run homebody check and correct the fields it names",
        )
    people = config.activity.population if population is None else population
    if config.dp.mechanism == "gaussian" and config.dp.cohort_size > people:
        raise PolicyViolationError(
            f"no privacy loss is computed: dp.cohort_size = {config.dp.cohort_size} is more than "
            f"the {people} devices there are",
            fix="set dp.cohort_size to at most the population",
        )


def _method(*, sampled: bool, fast: bool) -> Method:
    if not sampled:
        return "closed form"
    return "bound without sampling" if fast else "pld"


def _mu(charges: list[Charge]) -> float:
    return math.sqrt(math.fsum(charge.squared_loss for charge in charges))


def _statistics(config: "PrivacyConfig", tuned: int) -> list[Charge] | None:
    """Return what the one-shot sums cost; None where their noise is left to be solved."""
    own = config.statistics
    if own is None:
        return []
    if own.popularity_multiplier is None or own.gram_multiplier is None:
        return None
    noises = (own.popularity_multiplier, own.gram_multiplier)
    once = [GaussianReleases(noise_multiplier=noise, part="statistics") for noise in noises]
    again = [replace(one, releases=tuned, part="tuning") for one in once] if tuned else []
    return [*once, *again]


def _correlated(config: "PrivacyConfig") -> Charge | None:
    """Return a whole run of correlated rounds; None where strategy or noise is to be solved."""
    dp, part = config.dp, config.dp.participation
    if dp.blt is None or dp.noise_multiplier is None:
        return None
    strategy = dp.blt.parameters()
    return CorrelatedRun(
        noise_multiplier=dp.noise_multiplier,
        sensitivity=sensitivity(strategy, part),
        rounds=part.rounds,
        min_separation=part.min_separation,
        max_rounds=part.max_rounds,
        theta=strategy.theta,
        omega=strategy.omega,
    )


def _sampled(config: "PrivacyConfig", population: int) -> Charge | None:
    """Return the rounds of one run on secret cohorts; None where their noise is to be solved."""
    dp, count = config.dp, None
    if dp.noise_multiplier is None:
        return None
    if dp.adaptive_clip:
        from .adaptive_clip import AdaptiveClip  # noqa: PLC0415 - loads the noise source

        count = AdaptiveClip.for_cohort(dp.cohort_size).count_multiplier
    return PoissonRounds(
        population=population,
        cohort_size=dp.cohort_size,
        cohort_cap=dp.cohort_cap,
        noise_multiplier=dp.noise_multiplier,
        rounds=dp.rounds,
        count_multiplier=count,
    )


def _times(charge: Charge, runs: int) -> Charge:
    """Return what a charge comes to over several runs."""
    if isinstance(charge, PoissonRounds):
        return charge.with_rounds(charge.rounds * runs)
    if isinstance(charge, CorrelatedRun):
        return replace(charge, runs=charge.runs * runs)
    return replace(charge, releases=charge.releases * runs)


def _runs_to_cap(config: "PrivacyConfig", charges: list[Charge], method: Method) -> int | None:
    """Return how many runs fit under the cap; None where each has a budget of its own."""
    dp = config.dp
    if dp.budget_scope == "run":
        return None
    if method != "pld":  # strengths add as squares, exactly
        square = math.fsum(charge.squared_loss for charge in charges)
        return min(_MOST_RUNS, int(gaussian_mu(dp.epsilon_max, dp.delta) ** 2 / square))
    from .accounting import spent_epsilon  # noqa: PLC0415 - loads dp-accounting, 1 to 3 s

    def fits(runs: int) -> bool:
        return spent_epsilon([_times(c, runs) for c in charges], dp.delta) <= dp.epsilon_max

    low, high = 0, 1
    while high <= _MOST_RUNS and fits(high):
        low, high = high, 2 * high
    while high - low > 1 and low < _MOST_RUNS:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return min(low, _MOST_RUNS)
