"""What the rounds of a run will cost and whether their updates will show in the noise."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.blt import BltParameters, prefix_error
from homebody_privacy.charges import Charge, CorrelatedRun, PoissonRounds, round_up
from homebody_privacy.closed_form import epsilon_unamplified, gaussian_epsilon
from homebody_privacy.protection import Mechanism
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_simulation.curve import looks
from homebody_simulation.dry_round import DryRound

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

    @classmethod
    def of(cls, spec: RunSpec) -> "NoiseForecast":
        """Return what a run with rounds needs."""
        charges, delta = spec.whole_charge(), spec.accounted_delta
        mean, last = noise_error(charges, spec.rounds)
        return cls(
            mechanism=spec.mechanism,
            noise_multiplier=spec.noise_multiplier,
            epsilon=shown(spent_epsilon(charges, delta)),
            epsilon_unamplified=shown(epsilon_unamplified(charges, delta)),
            error_mean=mean,
            error_last=last,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsForecast:
    """The rounds of a run before the first of them.

    Attributes:
        own: The run's mechanism.
        other: The other one at the same epsilon; None where it is not feasible, or where rounds
            go on from statistics.
        other_reason: Why it is not feasible.
        dry: What devices answered in a round that was thrown away. Laboratory figures.
        snr: Expected norm of a round's sum / norm of its noise.
        run_snr: The same for the sums of all rounds, if devices go on agreeing as at the start.
        lattice_loss: Most that truncation to the lattice takes from an update, in clip norms.
        seconds: Estimate of the rounds on this machine, runtime ``cohort``.
    """

    own: NoiseForecast
    other: NoiseForecast | None
    other_reason: str | None
    dry: DryRound
    snr: float
    run_snr: float
    lattice_loss: float
    seconds: float

    @property
    def useful(self) -> bool:
        """Whether the summed updates are expected to show in the summed noise."""
        return self.run_snr >= LEAST_SNR

    def options(self, spec: RunSpec) -> list[str]:
        """Return what would make the rounds useful, in words; empty if they are."""
        if self.useful:
            return []
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
        """Return the figures as JSON values."""
        return {
            "mechanism": asdict(self.own),
            "other_mechanism": None if self.other is None else asdict(self.other),
            "other_reason": self.other_reason,
            "snr": self.snr,
            "run_snr": self.run_snr,
            "clip_rate": self.dry.clip_rate,
            "lattice_loss": self.lattice_loss,
            "down_bytes": self.dry.down_bytes,
            "up_bytes": self.dry.up_bytes,
            "cpu_s": self.dry.cpu_s,
        }


def rounds_forecast(
    spec: RunSpec, dry: DryRound, other: NoiseForecast | None, reason: str | None
) -> RoundsForecast:
    """Return the forecast of a run's rounds from what a few devices answered.

    Args:
        spec: The run.
        dry: The answers.
        other: The other mechanism at the same epsilon; None where it is not feasible.
        reason: Why it is not.
    """
    own, dim = NoiseForecast.of(spec), spec.trained_size
    noise = math.sqrt(dim) * spec.noise_multiplier
    agreeing = spec.rounds * spec.cohort_size * math.sqrt(max(0.0, dry.pair))
    scattered = spec.rounds * spec.cohort_size * dry.square
    summed = math.hypot(agreeing, math.sqrt(scattered))
    return RoundsForecast(
        own=own,
        other=other,
        other_reason=reason,
        dry=dry,
        snr=dry.sum_norm(spec.cohort_size) / noise,
        run_snr=summed / (math.sqrt(dim) * own.error_last),
        lattice_loss=math.sqrt(dim) / spec.lattice.bound,
        seconds=(dry.cpu_s + dry.server_s) * spec.cohort_size * spec.rounds
        + dry.look_s * looks(spec.rounds),
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


def shown(epsilon: float) -> float:
    """Return an epsilon as it is printed: with the sampler's own error, rounded up."""
    return round_up(epsilon + SAMPLER_EPSILON, 3)


def _epsilon_at(spec: RunSpec, factor: float) -> float:
    """Return the epsilon at which the noise is ``factor`` times smaller."""
    whole = spec.training_charge()
    if isinstance(whole, PoissonRounds):
        less = replace(whole, noise_multiplier=whole.noise_multiplier / factor)
        return spent_epsilon([less], spec.accounted_delta)
    return gaussian_epsilon(math.sqrt(whole.squared_loss) * factor, spec.accounted_delta)
