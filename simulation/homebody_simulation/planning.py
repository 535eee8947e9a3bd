"""What a run would be: every constant, from file, request and data; nothing is written."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from homebody_models.device_metrics import figure_names, needs_held_out
from homebody_models.recommender import Recommender
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig, check_population
from homebody_privacy.errors import InfeasibleError, PolicyViolationError
from homebody_privacy.lattice import FIGURES, RECORD_BITS, Lattice
from homebody_privacy.mechanisms import GaussianMechanism, Mechanism
from homebody_privacy.protection import Recipe
from homebody_privacy.variants import completed, variant
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec, accounted_delta
from homebody_simulation.datasets import Dataset
from homebody_simulation.noise_plan import NoisePlan, metrics_of, plan_noise
from homebody_simulation.profiles import Reference, profile_of
from homebody_simulation.request import STATISTICS_MODEL, Request
from homebody_simulation.start_model import CORE_RATE, CORE_REFERENCE, start_model_spec
from homebody_simulation.statistics_noise import StatisticsPlan, plan_statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run would be, before anything is written.

    Attributes:
        config: Privacy config in force: the file, completed by what was asked for.
        model_spec: Which model.
        model: The model.
        spec: The run's constants.
        noise: The noise and what it pays for; None without differential privacy.
    """

    config: PrivacyConfig
    model_spec: ModelSpec
    model: Recommender = field(repr=False)
    spec: RunSpec
    noise: NoisePlan | None


def plan_run(request: Request, approved: PrivacyConfig, dataset: Dataset) -> Planned:
    """Find out what a run would be; nothing is trained, spent or written.

    Raises:
        UsageError: If the request and the file's recipe do not go together.
        PolicyViolationError: If the request passes what the file allows.
        InfeasibleError: If the population is too small, or no noise keeps to the budget.
    """
    devices, epsilon = dataset.interactions.devices, request.epsilon
    profile = profile_of(dataset.name, repeats=dataset.interactions.repeats)
    recipe = recipe_of(request, approved)
    bound = epsilon is not None  # a reference is not bound by the config's rounds
    config = variant(
        approved,
        population=devices,
        mechanism=request.mechanism if bound else None,
        rounds=request.rounds if bound else None,
        cohort_size=request.cohort if bound else None,
        recipe=recipe,
        without=[name for name in approved.metrics if request.refit and needs_held_out(name)],
    )
    if bound:
        check_population(config, devices)
    figures = [one.charge(one.releases) for one in metrics_of(config)]
    statistics = plan_statistics(config, dataset, epsilon=epsilon, figures=figures)
    model_spec = profile.model(request.model)
    if statistics is not None:
        model_spec = start_model_spec(
            statistics.settings, recipe=recipe, repeats=dataset.interactions.repeats
        )
    model = model_spec.build(dataset.interactions.catalog)
    common: dict[str, Any] = {
        "devices": devices,
        "tensors": dict(model.layout.shapes),
        "frozen": model.layout.frozen,
        "population": _people(dataset),
        "deadline_s": request.deadline_s,
        "delta": approved.dp.delta,
        "seeded": request.seed is not None,
        "runtime": request.runtime,
        "secagg": request.is_sealed(by_config=approved.aggregation.secagg),
        "statistics": () if statistics is None else statistics.passes,
        "statistics_settings": None if statistics is None else statistics.settings,
    }
    fields = None if statistics is None else statistics.fields()
    noise = None
    if epsilon is None:
        dp = config.dp
        config = completed(
            config, noise_multiplier=dp.noise_multiplier, parameters=None, statistics=fields
        )
        reference = CORE_REFERENCE if model.layout.frozen else profile.reference
        spec = _reference(request, reference, recipe, config_digest=config.digest(), **common)
    else:
        noise = plan_noise(
            config,
            epsilon=epsilon,
            population=devices,
            dim=model.layout.trained_size,
            statistics=common["statistics"],
        )
        config = completed(
            config,
            noise_multiplier=noise.noise_multiplier or None,
            parameters=noise.parameters,
            statistics=fields,
        )
        rate = CORE_RATE if model.layout.frozen else profile.learning_rate
        spec = _protected(config, noise, epsilon, rate, common)
        _check_sampler(spec, config, _longest(statistics, dataset))
    return Planned(config=config, model_spec=model_spec, model=model, spec=spec, noise=noise)


def recipe_of(request: Request, config: PrivacyConfig) -> Recipe:
    """Return how the run trains: as asked, else as the file says, if its model can.

    Raises:
        UsageError: If what was asked is for rounds and there are none, or a run without an item to
            judge by is to choose between its models.
    """
    if request.model != STATISTICS_MODEL:
        return "rounds"
    recipe = request.recipe or config.recipe
    # The request knows its own recipe's rules; here it takes on the file's.
    return replace(request, recipe=recipe).recipe or recipe


def _protected(
    config: PrivacyConfig,
    noise: NoisePlan,
    epsilon: float,
    learning_rate: float,
    common: Mapping[str, Any],
) -> RunSpec:
    dp = config.dp
    lifetime = dp.budget_scope == "lifetime"
    strategy = noise.parameters
    rounds = config.recipe != "statistics"
    return RunSpec(
        rounds=dp.rounds if rounds else 0,
        cohort_size=dp.cohort_size if rounds else min(dp.cohort_size, common["devices"]),
        cohort_cap=dp.cohort_cap,
        clip_norm=dp.clip_norm,
        lattice_bits=dp.lattice_bits,
        noise_multiplier=noise.noise_multiplier,
        ceiling=dp.epsilon_max if lifetime else epsilon,
        lifetime=lifetime,
        learning_rate=learning_rate,
        server_optimizer="tensor-adam",
        config_digest=config.digest(),
        mechanism=dp.noise,
        min_separation=dp.min_separation,
        max_rounds_per_device=dp.max_rounds_per_device,
        sensitivity=noise.sensitivity,
        theta=strategy.theta if strategy else (),
        omega=strategy.omega if strategy else (),
        report_goal=config.aggregation.report_goal or 0,
        max_corrupt=config.aggregation.max_corrupt,
        max_dropout=config.aggregation.max_dropout,
        min_nodes=config.aggregation.min_nodes,
        count_multiplier=noise.count_multiplier,
        checkpoint_every=config.ledger.checkpoint_every_rounds,
        metrics=noise.metrics,
        tuning_runs=dp.tuning_runs if dp.tuning_data == "private" else 0,
        **common,
    )


def _reference(
    request: Request,
    reference: Reference,
    recipe: Recipe,
    **common: Any,  # noqa: ANN401 - fields of RunSpec
) -> RunSpec:
    """Return the constants of a laboratory run without noise; the config's do not bind it."""
    devices = common["devices"]
    cohort = request.cohort or max(1, round(reference.cohort_share * devices))
    if cohort > devices:
        raise InfeasibleError(f"--cohort {cohort} is above the population of {devices}")
    cap = min(devices, math.ceil(cohort + 10.0 * math.sqrt(cohort)))
    return RunSpec(
        rounds=0 if recipe == "statistics" else request.rounds or reference.rounds,
        cohort_size=cohort,
        cohort_cap=cap,
        clip_norm=reference.clip_norm,
        lattice_bits=_finest_bits(cap),
        noise_multiplier=0.0,
        ceiling=None,
        lifetime=False,
        learning_rate=reference.learning_rate,
        server_optimizer="adam",
        final_learning_rate=reference.learning_rate / 20.0,
        **common,
    )


def _longest(statistics: StatisticsPlan | None, dataset: Dataset) -> Mapping[str, int]:
    """Return the most entries each released sum may have, by name."""
    catalog = dataset.interactions.catalog
    return statistics.longest(len(catalog), catalog.features.shape[1]) if statistics else {}


def _finest_bits(cohort_cap: int) -> int:
    """Return the finest lattice on which the sum of a cohort still fits 32 bits."""
    fitting = [bits for bits in range(16, 21) if cohort_cap << bits < 1 << 31]
    if not fitting:
        raise InfeasibleError(f"a cohort of up to {cohort_cap} is too large for one sum")
    return fitting[-1]


def _check_sampler(spec: RunSpec, config: PrivacyConfig, longest: Mapping[str, int]) -> None:
    """Refuse a run so long that the noise sampler's error outgrows the room kept for it.

    Args:
        spec: The run.
        config: Its config.
        longest: The most entries of each one-shot sum, by name.
    """
    draws = {("dp.delta", spec.delta): _user_draws(spec, longest)}
    record = config.dp.record
    if record is not None and record.enabled and spec.rounds:
        lattice = Lattice(clip_norm=record.max_grad_norm, bits=RECORD_BITS)
        level = GaussianMechanism(lattice=lattice, noise_multiplier=record.noise_multiplier)
        draws["dp.record.delta", record.delta] = [
            (level, spec.trained_size, spec.rounds * record.steps)
        ]
    for (field_name, delta), each in draws.items():
        lost = math.fsum(m.sampler_delta(dim, releases) for m, dim, releases in each)
        more = math.fsum(m.sampler_epsilon(dim, releases) for m, dim, releases in each)
        if lost > delta - accounted_delta(delta) or more > SAMPLER_EPSILON:
            raise InfeasibleError(
                f"{field_name} = {delta:g} is too small for {sum(r for _, _, r in each)} draws of "
                f"noise for {max(dim for _, dim, _ in each):,} parameters",
                fix=f"raise {field_name}, or ask for fewer rounds or a smaller model",
            )


def _user_draws(spec: RunSpec, longest: Mapping[str, int]) -> list[tuple[Mechanism, int, int]]:
    """Return what draws noise at user level: mechanism, entries, releases."""
    draws = [(one.mechanism(), longest[one.name], 1) for one in spec.statistics]
    figures = sum(len(figure_names(metric.name)) for metric in spec.metrics)
    if not spec.rounds:
        figured = [GaussianMechanism(FIGURES, metric.noise_multiplier) for metric in spec.metrics]
        return draws + [(one, figures, 1) for one in figured]
    # A vote and some figures a round: counted as more parameters, though they are fewer draws.
    size = spec.trained_size + (spec.count_multiplier is not None) + figures
    return [*draws, (spec.mechanism_for(spec.trained_size), size, spec.rounds)]


def _people(dataset: Dataset) -> str:
    """Return the digest that stands for the people of a data set, whatever events they add.

    It is made of the data set's name: a digest of the events would start a new budget with each
    new event, and would be an un-noised release of them.
    """
    return hashlib.sha256(f"homebody/people/v1|{dataset.name}".encode()).hexdigest()


def check_request(request: Request, config: PrivacyConfig) -> None:
    """Refuse an epsilon above the file's, before any data is read.

    Raises:
        PolicyViolationError: If it is.
    """
    if request.epsilon is None:
        return
    if request.epsilon > config.dp.epsilon_max:
        raise PolicyViolationError(
            f"--epsilon {request.epsilon:g} is above dp.epsilon_max = {config.dp.epsilon_max:g}",
            fix="ask for less, or have a higher dp.epsilon_max approved in privacy.toml",
        )
