"""``homebody plan``: what a run will cost and whether it can be useful, before anything trains."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from homebody_models.split import leave_one_out
from homebody_privacy.accounting import epsilon_by_part, spent_epsilon, unamplified_by_part
from homebody_privacy.blt import BltParameters, prefix_error
from homebody_privacy.charges import Charge, CorrelatedRun, PoissonRounds, round_up
from homebody_privacy.closed_form import epsilon_unamplified, gaussian_epsilon
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import HomebodyError, PolicyViolationError
from homebody_privacy.protection import Mechanism
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_server.spending import spent_before
from homebody_simulation.curve import looks
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.dry_round import DryRound, dry_round
from homebody_simulation.planning import Planned, check_request, plan_run
from homebody_simulation.request import Request

LEAST_SNR: Final = 0.1
"""Below it, measured runs stayed behind the same list for all (docs/privacy-engine.md)."""

WEAK_SNR: Final = 0.3
"""Below it, measured runs came to about the same as the same list for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseForecast:
    """What one mechanism would need for the asked epsilon. Public.

    Attributes:
        mechanism: ``blt`` or ``gaussian``.
        noise_multiplier: Noise on the sum / clip norm.
        epsilon: Total at user level, with the credit the mechanism takes.
        epsilon_unamplified: The same, toward whoever sees who takes part.
        error_mean: Deviation of the noise in the sum of rounds 1 to t, per coordinate, in clip
            norms: root of its mean square over t.
        error_last: The same after the last round.
    """

    mechanism: Mechanism
    noise_multiplier: float
    epsilon: float
    epsilon_unamplified: float
    error_mean: float
    error_last: float


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
class Plan:
    """Everything known about a run before it starts.

    Attributes:
        planned: The run.
        dataset: Name of the data.
        own: The run's mechanism.
        other: The other one at the same epsilon; None where it is not feasible.
        other_reason: Why it is not.
        parts: Epsilon of each part by itself.
        parts_unamplified: The same, toward whoever sees who takes part.
        life: Over the life of a device; None where each run has a budget of its own.
        dry: What devices answered in a round that was thrown away. Laboratory figures.
        snr: Expected norm of a round's sum / norm of its noise.
        run_snr: The same for the sums of all rounds, if devices go on agreeing as at the start.
        lattice_loss: Most that truncation to the lattice takes from an update, in clip norms.
        seconds: Estimate of the run on this machine, runtime ``cohort``.
    """

    planned: Planned = field(repr=False)
    dataset: str
    own: NoiseForecast
    other: NoiseForecast | None
    other_reason: str | None
    parts: dict[str, float]
    parts_unamplified: dict[str, float]
    life: LifeForecast | None
    dry: DryRound
    snr: float
    run_snr: float
    lattice_loss: float
    seconds: float

    @property
    def useful(self) -> bool:
        """Whether the summed updates are expected to show in the summed noise."""
        return self.run_snr >= LEAST_SNR

    def options(self) -> list[str]:
        """Return what would make the plan useful, in words; empty if it is."""
        if self.useful:
            return []
        spec = self.planned.spec
        factor = LEAST_SNR / max(self.run_snr, 1e-9)
        words = [f"about {math.ceil(spec.devices * factor):,} devices at this epsilon"]
        epsilon = _epsilon_at(spec, factor)
        if math.isfinite(epsilon):
            words.append(f"epsilon {round_up(epsilon, 1):g} with these devices")
        better = self.other is not None and self.other.error_last < self.own.error_last
        if better and self.other is not None:
            words.append(f"mechanism {self.other.mechanism}, whose noise is smaller here")
        return words

    def to_dict(self) -> dict[str, Any]:
        """Return the object ``--format json`` prints."""
        spec, config = self.planned.spec, self.planned.config
        return {
            "data": self.dataset,
            "unit": config.dp.unit,
            "adjacency": config.dp.adjacency,
            "delta": config.dp.delta,
            "budget_scope": config.dp.budget_scope,
            "devices": spec.devices,
            "rounds": spec.rounds,
            "cohort_size": spec.cohort_size,
            "min_separation": spec.min_separation,
            "max_rounds_per_device": spec.participation.joins,
            "parameters": self.planned.model.layout.size,
            "mechanism": asdict(self.own),
            "other_mechanism": None if self.other is None else asdict(self.other),
            "other_reason": self.other_reason,
            "epsilon_by_part": self.parts,
            "epsilon_by_part_unamplified": self.parts_unamplified,
            "life": None if self.life is None else asdict(self.life),
            "theta": list(spec.theta),
            "omega": list(spec.omega),
            "snr": self.snr,
            "run_snr": self.run_snr,
            "useful": self.useful,
            "options": self.options(),
            "clip_rate": self.dry.clip_rate,
            "lattice_loss": self.lattice_loss,
            "down_bytes": self.dry.down_bytes,
            "up_bytes": self.dry.up_bytes,
            "cpu_s": self.dry.cpu_s,
            "seconds": self.seconds,
        }


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
    dry = dry_round(planned, leave_one_out(dataset.interactions))
    other, reason = _other(request, approved, dataset, planned.config.dp.mechanism)
    return _plan(planned, dataset, dry, other, reason, _life(request, planned))


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
        spent=_shown(spent_epsilon(earlier, spec.accounted_delta)) if earlier else 0.0,
        after=_shown(spent_epsilon(whole, spec.accounted_delta)),
        ceiling=planned.config.dp.epsilon_max,
    )


def _plan(
    planned: Planned,
    dataset: Dataset,
    dry: DryRound,
    other: NoiseForecast | None,
    reason: str | None,
    life: LifeForecast | None,
) -> Plan:
    spec = planned.spec
    dim = planned.model.layout.size
    own = _noise_forecast(spec)
    noise = math.sqrt(dim) * spec.noise_multiplier
    agreeing = spec.rounds * spec.cohort_size * math.sqrt(max(0.0, dry.pair))
    scattered = spec.rounds * spec.cohort_size * dry.square
    summed = math.hypot(agreeing, math.sqrt(scattered))
    parts = epsilon_by_part(spec.whole_charge(), spec.accounted_delta)
    plain = unamplified_by_part(spec.whole_charge(), spec.accounted_delta)
    return Plan(
        planned=planned,
        dataset=dataset.name,
        own=own,
        other=other,
        other_reason=reason,
        parts={part: _shown(value) for part, value in parts.items()},
        parts_unamplified={part: _shown(value) for part, value in plain.items()},
        life=life,
        dry=dry,
        snr=dry.sum_norm(spec.cohort_size) / noise,
        run_snr=summed / (math.sqrt(dim) * own.error_last),
        lattice_loss=math.sqrt(dim) / spec.lattice.bound,
        seconds=(dry.cpu_s + dry.server_s) * spec.cohort_size * spec.rounds
        + dry.look_s * looks(spec.rounds),
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
    return _noise_forecast(planned.spec), None


def _noise_forecast(spec: RunSpec) -> NoiseForecast:
    charges = spec.whole_charge()
    delta, noise = spec.accounted_delta, spec.noise_multiplier
    mean, last = noise_error(charges, spec.rounds)
    return NoiseForecast(
        mechanism=spec.mechanism,
        noise_multiplier=noise,
        epsilon=_shown(spent_epsilon(charges, delta)),
        epsilon_unamplified=_shown(epsilon_unamplified(charges, delta)),
        error_mean=mean,
        error_last=last,
    )


def noise_error(charges: Sequence[Charge], rounds: int) -> tuple[float, float]:
    """Return the noise in running sums of a run, per coordinate in clip norms: mean and last.

    Args:
        charges: What the run charges; one of them is its training.
        rounds: Rounds of the run.

    Raises:
        ValueError: If no charge is for training.
    """
    for charge in charges:
        if charge.part != "training":
            continue
        if isinstance(charge, CorrelatedRun):
            strategy = BltParameters(theta=charge.theta, omega=charge.omega)
            mean, last = prefix_error(strategy, rounds)
            return mean * charge.noise_multiplier, last * charge.noise_multiplier
        if isinstance(charge, PoissonRounds):
            noise = charge.noise_multiplier
            return noise * math.sqrt((rounds + 1) / 2.0), noise * math.sqrt(rounds)
    raise ValueError("no charge is for training")


def _epsilon_at(spec: RunSpec, factor: float) -> float:
    """Return the epsilon at which the noise is ``factor`` times smaller."""
    whole = spec.training_charge()
    if isinstance(whole, PoissonRounds):
        less = replace(whole, noise_multiplier=whole.noise_multiplier / factor)
        return spent_epsilon([less], spec.accounted_delta)
    return gaussian_epsilon(math.sqrt(whole.squared_loss) * factor, spec.accounted_delta)


def _shown(epsilon: float) -> float:
    """Return an epsilon as it is printed: with the sampler's own error, rounded up."""
    return round_up(epsilon + SAMPLER_EPSILON, 3)
