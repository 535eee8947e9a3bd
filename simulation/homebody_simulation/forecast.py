"""``homebody plan``: what a run will cost and whether it can be useful, before anything trains."""

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from homebody_models.split import leave_one_out
from homebody_privacy.accounting import epsilon_by_part, spent_epsilon, unamplified_by_part
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import HomebodyError, PolicyViolationError
from homebody_privacy.protection import Mechanism
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import RunSpec
from homebody_server.spending import spent_before
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.dry_round import dry_round
from homebody_simulation.laboratory_sums import LaboratorySums
from homebody_simulation.planning import Planned, check_request, plan_run
from homebody_simulation.recipe_advice import Advice, advice_for
from homebody_simulation.request import Request
from homebody_simulation.rounds_forecast import (
    NoiseForecast,
    RoundsForecast,
    rounds_forecast,
    shown,
)
from homebody_simulation.utility_forecast import UtilityForecast, utility_forecast

_WORD = np.dtype(np.int32).itemsize  # of a contribution and of a broadcast, in bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeForecast:
    """Epsilon over the life of a device, where runs on the same people share one budget.

    Attributes:
        spent: What other runs have spent.
        after: What will be spent after this one.
        ceiling: What is never passed.
    """

    spent: float
    after: float
    ceiling: float

    @property
    def fits(self) -> bool:
        """Whether the run can end before the budget stops it."""
        return self.after <= self.ceiling


@dataclass(frozen=True, slots=True, kw_only=True)
class PassForecast:
    """One one-shot sum of a run.

    Attributes:
        name: Which statistic.
        noise_multiplier: Noise on the sum; one device moves it by at most 1.
        epsilon: What it costs by itself.
        entries: Numbers of the sum.
        down_bytes: Bytes to a device, without what frames them.
        up_bytes: Bytes from a device, in the same way.
    """

    name: str
    noise_multiplier: float
    epsilon: float
    entries: int
    down_bytes: int
    up_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsForecast:
    """The one-shot statistics of a run.

    Attributes:
        passes: The sums, in order.
        utility: What the model they make is worth. Laboratory figures.
        cpu_s: Processor seconds of a device for all of them, mean, on this machine.
        seconds: Estimate of them all on this machine, runtime ``cohort``.
    """

    passes: tuple[PassForecast, ...]
    utility: UtilityForecast
    cpu_s: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything known about a run before it starts.

    Attributes:
        planned: The run.
        dataset: Name of the data.
        epsilon: Total at user level, with the credit the mechanism takes.
        epsilon_unamplified: The same, toward whoever sees who takes part.
        parts: Epsilon of each part by itself.
        parts_unamplified: The same, toward whoever sees who takes part.
        life: Over the life of a device; None where each run has a budget of its own.
        statistics: The one-shot statistics; None for rounds alone.
        rounds: The rounds; None without.
        advice: Which recipe suits.
    """

    planned: Planned = field(repr=False)
    dataset: str
    epsilon: float
    epsilon_unamplified: float
    parts: dict[str, float]
    parts_unamplified: dict[str, float]
    life: LifeForecast | None
    statistics: StatisticsForecast | None
    rounds: RoundsForecast | None
    advice: Advice

    @property
    def useful(self) -> bool:
        """Whether the run is expected to beat the same list for all.

        What statistics are worth is measured; where there are none, updates must show in the noise.
        """
        if self.statistics is not None:
            return self.statistics.utility.useful
        return self.rounds is not None and self.rounds.useful

    @property
    def seconds(self) -> float:
        """Estimate of the run on this machine, runtime ``cohort``."""
        return sum(part.seconds for part in (self.statistics, self.rounds) if part is not None)

    def options(self) -> list[str]:
        """Return what would make the plan useful, in words; empty if it is."""
        if self.statistics is not None:
            return self.statistics.utility.options()
        return [] if self.rounds is None else self.rounds.options(self.planned.spec)

    def to_dict(self) -> dict[str, Any]:
        """Return the object ``--format json`` prints."""
        spec, config = self.planned.spec, self.planned.config
        rounds = dict.fromkeys(_OF_ROUNDS) if self.rounds is None else self.rounds.to_dict()
        statistics = self.statistics
        return {
            "data": self.dataset,
            "recipe": spec.recipe,
            "advice": asdict(self.advice),
            "unit": config.dp.unit,
            "adjacency": config.dp.adjacency,
            "epsilon": self.epsilon,
            "epsilon_unamplified": self.epsilon_unamplified,
            "delta": config.dp.delta,
            "budget_scope": config.dp.budget_scope,
            "devices": spec.devices,
            "rounds": spec.rounds,
            "cohort_size": spec.cohort_size if spec.rounds else None,
            "min_separation": spec.min_separation if spec.rounds else None,
            "max_rounds_per_device": spec.participation.joins if spec.rounds else None,
            "parameters": self.planned.model.layout.size,
            "trained_parameters": spec.trained_size if spec.rounds else 0,
            "epsilon_by_part": self.parts,
            "epsilon_by_part_unamplified": self.parts_unamplified,
            "life": None if self.life is None else asdict(self.life),
            "theta": list(spec.theta),
            "omega": list(spec.omega),
            "statistics": [] if statistics is None else [asdict(p) for p in statistics.passes],
            "utility": None if statistics is None else statistics.utility.to_dict(),
            "useful": self.useful,
            "options": self.options(),
            **rounds,
            "seconds": self.seconds,
        }


_OF_ROUNDS = (
    "mechanism",
    "other_mechanism",
    "other_reason",
    "snr",
    "run_snr",
    "clip_rate",
    "lattice_loss",
    "down_bytes",
    "up_bytes",
    "cpu_s",
)


def make_plan(request: Request) -> Plan:
    """Forecast a run; nothing is trained, charged or written.

    Raises:
        PolicyViolationError: If the request passes what the config allows, or asks for a run
            without differential privacy.
        InfeasibleError: If the population is too small, or no noise keeps to the budget.
    """
    if request.epsilon is None:
        raise PolicyViolationError(
            "a plan forecasts privacy; epsilon 'inf' has none", fix="give --epsilon a number"
        )
    approved = PrivacyConfig.load(request.config_file)
    check_request(request, approved)
    dataset = load_dataset(request.data, root=None, **request.options)
    planned = plan_run(request, approved, dataset)
    spec, split = planned.spec, leave_one_out(dataset.interactions)
    statistics, start, rounds = None, None, None
    if spec.statistics:
        sums = LaboratorySums.of(planned, split.train)
        begun = time.process_time()
        start = sums.start()
        fit_s = time.process_time() - begun
        utility = utility_forecast(spec, split, sums, start)
        statistics = _statistics(spec, sums, utility, fit_s)
    if spec.rounds:
        dry = dry_round(planned, split, start=start)
        # Beside statistics the rounds are a small part: what else would do is not worth solving.
        alone = not spec.statistics
        other, reason = (
            _other(request, approved, dataset, spec.mechanism) if alone else (None, None)
        )
        rounds = rounds_forecast(spec, dry, other, reason)
    charges, delta = spec.whole_charge(), spec.accounted_delta
    parts, plain = epsilon_by_part(charges, delta), unamplified_by_part(charges, delta)
    return Plan(
        planned=planned,
        dataset=dataset.name,
        epsilon=shown(spent_epsilon(charges, delta)),
        epsilon_unamplified=shown(epsilon_unamplified(charges, delta)),
        parts={part: shown(value) for part, value in parts.items()},
        parts_unamplified={part: shown(value) for part, value in plain.items()},
        life=_life(request, planned),
        statistics=statistics,
        rounds=rounds,
        advice=advice_for(request.model, request.epsilon, spec),
    )


def _statistics(
    spec: RunSpec, sums: LaboratorySums, utility: UtilityForecast, fit_s: float
) -> StatisticsForecast:
    entries = {"popularity": len(sums.popularity), "gram": len(sums.gram)}
    sent = {"popularity": 1, "gram": sums.sent}
    return StatisticsForecast(
        passes=tuple(
            PassForecast(
                name=one.name,
                noise_multiplier=one.noise_multiplier,
                epsilon=shown(spent_epsilon([one.charge()], spec.accounted_delta)),
                entries=entries[one.name],
                down_bytes=_WORD * sent[one.name],
                up_bytes=_WORD * entries[one.name],
            )
            for one in spec.statistics
        ),
        utility=utility,
        cpu_s=sums.cpu_s,
        seconds=sums.cpu_s * spec.devices + fit_s,
    )


def _life(request: Request, planned: Planned) -> LifeForecast | None:
    """Return what all runs on the same people come to.

    Raises:
        IntegrityError: If a ledger of theirs is missing or damaged.
    """
    spec = planned.spec
    if not spec.lifetime:
        return None
    earlier = spent_before(RunFolder(request.runs / request.run_name()), spec)
    whole = [*earlier, *spec.whole_charge()]
    return LifeForecast(
        spent=shown(spent_epsilon(earlier, spec.accounted_delta)) if earlier else 0.0,
        after=shown(spent_epsilon(whole, spec.accounted_delta)),
        ceiling=planned.config.dp.epsilon_max,
    )


def _other(
    request: Request, approved: PrivacyConfig, dataset: Dataset, mechanism: Mechanism
) -> tuple[NoiseForecast | None, str | None]:
    """Forecast the mechanism that was not asked for, or say why it cannot be had."""
    name: Mechanism = "gaussian" if mechanism == "blt" else "blt"
    try:
        planned = plan_run(replace(request, mechanism=name), approved, dataset)
    except HomebodyError as error:
        return None, str(error)
    return NoiseForecast.of(planned.spec), None
