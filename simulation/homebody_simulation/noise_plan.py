"""How much noise a run needs: everything it will release is paid from one epsilon."""

import math
from dataclasses import dataclass, replace

from homebody_models.device_metrics import DEVICE_METRICS
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.adaptive_clip import AdaptiveClip, sum_multiplier
from homebody_privacy.blt import BltParameters, charged_sensitivity, fine_bits
from homebody_privacy.blt_optimiser import optimise
from homebody_privacy.charges import Charge, CorrelatedRun, PoissonRounds
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InfeasibleError, InvalidFileError, PolicyViolationError
from homebody_privacy.protection import Protection
from homebody_privacy.solving import solve_correlated_multiplier, solve_noise_multiplier
from homebody_server.run_spec import SAMPLER_EPSILON, MetricPlan, accounted_delta
from homebody_server.statistic_plan import StatisticPass
from homebody_simulation.statistics_noise import statistics_charges


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisePlan:
    """The noise of a run and what it pays for. Public.

    Attributes:
        noise_multiplier: Noise on the sum / clip norm; with ``blt`` before it is correlated. 0
            without rounds.
        count_multiplier: Noise of the count that adapts the clip norm; None where it is fixed.
        parameters: Strategy of ``blt``; None for ``gaussian``.
        sensitivity: Charged sensitivity of the whole run in clip norms; 1 for ``gaussian``.
        metrics: Figures the run releases.
        statistics: One-shot sums it starts from.
    """

    noise_multiplier: float
    count_multiplier: float | None
    parameters: BltParameters | None
    sensitivity: float
    metrics: tuple[MetricPlan, ...]
    statistics: tuple[StatisticPass, ...] = ()


def plan_noise(
    config: PrivacyConfig,
    *,
    epsilon: float,
    population: int,
    dim: int,
    statistics: tuple[StatisticPass, ...] = (),
) -> NoisePlan:
    """Find the least noise with which everything a run releases keeps to ``epsilon``.

    Args:
        config: Config of the run. Where it fixes the noise, that is used and checked.
        epsilon: Budget of the run at user level, total: statistics, training, metrics, tuning.
        population: Devices.
        dim: Parameters of the model, at least 1.
        statistics: One-shot sums before the rounds, with their noise.

    Raises:
        InfeasibleError: If no noise does it, or metrics alone take the budget.
        PolicyViolationError: If the config's own noise costs more than ``epsilon``.
        InvalidFileError: If the config lists a metric nobody can compute.
    """
    dp = config.dp
    metrics = metrics_of(config)
    plan = NoisePlan(
        noise_multiplier=0.0,
        count_multiplier=None,
        parameters=None,
        sensitivity=1.0,
        metrics=metrics,
        statistics=statistics,
    )
    fixed = dp.noise_multiplier is not None
    if config.recipe == "statistics":
        fixed = config.statistics is not None and config.statistics.gram_multiplier is not None
    else:
        plan = _with_rounds(plan, dp, epsilon, population, dim)
    if fixed:
        _check_own(dp, plan, epsilon, population)
    return plan


def _with_rounds(
    plan: NoisePlan, dp: Protection, epsilon: float, population: int, dim: int
) -> NoisePlan:
    """Return the plan with the noise of its rounds: the file's, or what the rest leaves."""
    parameters, sensitivity = None, 1.0
    if dp.mechanism == "blt":
        parameters = optimise(dp.participation) if dp.blt is None else dp.blt.parameters()
        sensitivity = run_sensitivity(dp, parameters, dim)
    count = AdaptiveClip.for_cohort(dp.cohort_size).count_multiplier if dp.adaptive_clip else None
    multiplier = dp.noise_multiplier
    if multiplier is None:
        others: list[Charge] = [metric.charge(metric.releases) for metric in plan.metrics]
        others += statistics_charges(plan.statistics, _tuning_runs(dp))
        multiplier = _solved(dp, epsilon, population, sensitivity, count, others)
    return replace(
        plan,
        noise_multiplier=multiplier,
        count_multiplier=count,
        parameters=parameters,
        sensitivity=sensitivity,
    )


def _tuning_runs(dp: Protection) -> int:
    """Return how many tuning runs are charged."""
    return dp.tuning_runs if dp.tuning_data == "private" else 0


def run_sensitivity(dp: Protection, parameters: BltParameters, dim: int) -> float:
    """Return the charged sensitivity of a whole ``blt`` run, in clip norms."""
    part = dp.participation
    bits = fine_bits(parameters, part, dim=dim, lattice_bits=dp.lattice_bits)
    return charged_sensitivity(
        parameters, part, dim=dim, lattice_bits=dp.lattice_bits, fine_bits=bits
    )


def metrics_of(config: PrivacyConfig) -> tuple[MetricPlan, ...]:
    """Return the figures a run of the config releases.

    Raises:
        InvalidFileError: If there is no such figure.
    """
    for name in config.metrics:
        if name not in DEVICE_METRICS:
            raise InvalidFileError(
                f"metrics.{name} is no figure a device can compute",
                fix=f"choose from {', '.join(DEVICE_METRICS)}",
            )
    return tuple(
        MetricPlan(
            name=name,
            noise_multiplier=metric.noise_multiplier,
            releases=metric.releases_per_run,
            purpose=metric.purpose,
            min_k=config.release.min_k,
        )
        for name, metric in config.metrics.items()
    )


def _solved(
    dp: Protection,
    epsilon: float,
    population: int,
    sensitivity: float,
    count: float | None,
    others: list[Charge],
) -> float:
    room, delta = epsilon - SAMPLER_EPSILON, accounted_delta(dp.delta)
    runs = 1 + _tuning_runs(dp)
    if dp.mechanism == "blt":
        return solve_correlated_multiplier(
            room, delta, sensitivity=sensitivity * math.sqrt(runs), others=others
        )
    effective = solve_noise_multiplier(
        room,
        delta,
        population=population,
        cohort_size=dp.cohort_size,
        cohort_cap=dp.cohort_cap,
        rounds=dp.rounds * runs,
        others=others,
    )
    if count is None:
        return effective
    if effective >= count:
        raise InfeasibleError(
            f"the count that adapts the clip norm has noise {count:g}, the whole round needs "
            f"{effective:g}",
            fix="set dp.adaptive_clip = false, or ask for a larger cohort or epsilon",
        )
    return sum_multiplier(effective, count) * (1.0 + 1e-9)


def _check_own(dp: Protection, plan: NoisePlan, epsilon: float, population: int) -> None:
    """Refuse a config whose own noise costs more than what is asked."""
    spent = spent_epsilon(planned_charges(dp, plan, population), accounted_delta(dp.delta))
    if spent + SAMPLER_EPSILON > epsilon:
        raise PolicyViolationError(
            f"the noise that the config fixes costs epsilon {spent:.4f} over the run, above "
            f"--epsilon {epsilon:g}",
            fix="ask for that epsilon, or leave the multipliers out and have them solved",
        )


def planned_charges(dp: Protection, plan: NoisePlan, population: int) -> list[Charge]:
    """Return everything a run of the plan charges, start to end."""
    runs = _tuning_runs(dp)
    charges = statistics_charges(plan.statistics, runs)
    charges += [metric.charge(metric.releases) for metric in plan.metrics]
    if not plan.noise_multiplier:
        return charges
    if plan.parameters is None:
        one = PoissonRounds(
            population=population,
            cohort_size=dp.cohort_size,
            cohort_cap=dp.cohort_cap,
            noise_multiplier=plan.noise_multiplier,
            count_multiplier=plan.count_multiplier,
            rounds=dp.rounds,
        )
        tuned = one.with_rounds(dp.rounds * runs).with_part("tuning")
        return [one, *charges, *([tuned] if runs else [])]
    part = dp.participation
    whole = CorrelatedRun(
        noise_multiplier=plan.noise_multiplier,
        sensitivity=plan.sensitivity,
        rounds=part.rounds,
        min_separation=part.min_separation,
        max_rounds=part.max_rounds,
        theta=plan.parameters.theta,
        omega=plan.parameters.omega,
    )
    tuned_whole = [whole.with_part("tuning")] * runs
    return [whole, *charges, *tuned_whole]
