"""What a run was asked to do: fixed before the first round, read by the server app alone."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from homebody_models.device_metrics import figure_names
from homebody_models.statistics.settings import StatisticsSettings
from homebody_privacy.blt import BltParameters, Participation
from homebody_privacy.charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism, Mechanism, NoNoise
from homebody_privacy.messages import STATISTICS
from homebody_privacy.protection import Recipe
from homebody_server.release import ServerOptimizer
from homebody_server.statistic_plan import StatisticPass

_SAMPLER_SHARE = 1e-3
_LEAST_NODES = 3
SAMPLER_EPSILON = 1e-6
"""What the noise sampler may add to epsilon; the plan leaves room for it."""

RUN = "run"
"""Name of the purchase that pays for a whole correlated run."""

TUNING = "tuning"
"""Name of the purchase that pays for tuning runs on private data."""


def accounted_delta(delta: float) -> float:
    """Return the part of ``delta`` composition may use; the rest is the noise sampler's."""
    return delta * (1.0 - _SAMPLER_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPlan:
    """A figure about people that the run releases. Public.

    Attributes:
        name: Which figure.
        noise_multiplier: Noise on its sum over all devices.
        releases: How often in the run.
        purpose: The switch it is sent under.
        min_k: People without whom it is not released; 1 in runs of before there was a least.
    """

    name: str
    noise_multiplier: float
    releases: int
    purpose: str = "metrics"
    min_k: int = 1

    def __post_init__(self) -> None:
        """Refuse a figure about nobody."""
        if self.min_k < 1:
            raise ValueError("min_k must be at least 1")

    @property
    def length(self) -> int:
        """Integers of one device's contribution."""
        return len(figure_names(self.name))

    def rounds(self, rounds: int, first: Literal[0, 1] = 1) -> list[int]:
        """Return after which rounds of a run of that many it is released, evenly spread.

        Args:
            rounds: Rounds of the run.
            first: 0 where the model before the first round is one to ask about: the first of
                several releases falls there, the last after the last round.
        """
        gaps = self.releases - 1 if first == 0 else self.releases
        if not gaps:
            return [rounds]
        return [-(-rounds * i // gaps) for i in range(first, gaps + 1)]

    def purchase(self, number: int) -> str:
        """Return the name of the purchase that pays for its release after a round."""
        return f"metrics/{self.name}/{number}"

    def charge(self, releases: int = 1) -> GaussianReleases:
        """Return what that many releases cost."""
        return GaussianReleases(noise_multiplier=self.noise_multiplier, releases=releases)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The constants of a run. Public.

    Attributes:
        rounds: Rounds to run, fixed in advance; 0 exactly where statistics are all there is.
        devices: Enrolled devices N, the population of the accounting.
        cohort_size: Expected cohort and constant denominator; q = cohort_size / devices.
        cohort_cap: Most devices of a round.
        clip_norm: L2 bound of one device's contribution; the first one, where it adapts.
        lattice_bits: The lattice step is clip_norm / 2**lattice_bits.
        noise_multiplier: Noise standard deviation on the sum over the clip norm; 0 is a laboratory
            reference without differential privacy, or a run without rounds.
        ceiling: Epsilon the run may not pass, user level; None without differential privacy.
        delta: Failure chance of the guarantee.
        learning_rate: Server learning rate of the first round.
        final_learning_rate: That of the last round, reached in equal steps; None keeps the first.
        server_optimizer: ``tensor-adam`` for noised releases, ``adam`` without noise.
        tensors: Name and shape of each parameter tensor, in order.
        config_digest: SHA-256 of the privacy config in force.
        population: SHA-256 of the population, for the lifetime budget.
        lifetime: Whether earlier runs over the same population count.
        deadline_s: Seconds to wait for the replies of a round.
        mechanism: ``gaussian`` on secret Poisson cohorts, ``blt`` on cohorts that keep their
            separation.
        min_separation: Rounds from one join of a device to its next.
        max_rounds_per_device: Most rounds one device joins.
        sensitivity: Charged sensitivity of a ``blt`` run, in clip norms; 1 otherwise.
        theta: Decay of each noise buffer of ``blt``.
        omega: Weight of each.
        report_goal: Replies without which a round of ``blt`` is void; 0 for none.
        count_multiplier: Noise of the count that adapts the clip norm; None where it is fixed.
        metrics: Figures the run releases.
        tuning_runs: Runs like this one, made on the same people, that are in no ledger.
        seeded: Whether the noise follows from a seed; a deployment refuses such a run.
        runtime: How the apps run.
        secagg: Whether replies are sealed and summed by secure aggregation.
        max_corrupt: Share of the nodes of a secure sum that may work against the others.
        max_dropout: Share of them that may vanish.
        min_nodes: Nodes it needs.
        checkpoint_every: Closed rounds between two signed checkpoints of the ledger.
        run_id: Identity of the run, as devices count by it; empty for the folder's name.
        statistics: One-shot sums before the first round, in order; none for rounds alone.
        statistics_settings: What they are; None exactly where there are none.
        frozen: Names of the first of ``tensors``, which no round changes: they are what the
            statistics made, broadcast with the rest.
    """

    rounds: int
    devices: int
    cohort_size: int
    cohort_cap: int
    clip_norm: float
    lattice_bits: int
    noise_multiplier: float
    ceiling: float | None
    delta: float
    learning_rate: float
    server_optimizer: ServerOptimizer
    tensors: Mapping[str, tuple[int, ...]]
    config_digest: str
    population: str
    lifetime: bool
    deadline_s: float
    final_learning_rate: float | None = None
    mechanism: Literal["gaussian", "blt"] = "gaussian"
    min_separation: int = 1
    max_rounds_per_device: int | None = None
    sensitivity: float = 1.0
    theta: tuple[float, ...] = ()
    omega: tuple[float, ...] = ()
    report_goal: int = 0
    count_multiplier: float | None = None
    metrics: tuple[MetricPlan, ...] = ()
    tuning_runs: int = 0
    seeded: bool = False
    runtime: str = "cohort"
    secagg: bool = False
    max_corrupt: float = 0.1
    max_dropout: float = 0.3
    min_nodes: int = 3
    checkpoint_every: int = 1
    run_id: str = ""
    statistics: tuple[StatisticPass, ...] = ()
    statistics_settings: StatisticsSettings | None = None
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no run can do."""
        if self.rounds < (0 if self.statistics else 1):
            raise ValueError("rounds must be at least 1, or 0 with statistics")
        if not 1 <= self.cohort_size <= self.devices:
            raise ValueError("cohort_size must be within 1..devices")
        if not self.learning_rate > 0.0 or not self.deadline_s > 0.0:
            raise ValueError("learning_rate and deadline_s must be positive")
        if self.final_learning_rate is not None and not self.final_learning_rate > 0.0:
            raise ValueError("final_learning_rate must be positive")
        rounds = [self.noise_multiplier] if self.rounds else []
        noises = [*rounds, *(one.noise_multiplier for one in self.statistics)]
        if any((self.ceiling is None) != (noise == 0.0) for noise in noises):
            raise ValueError("a run has a ceiling exactly when it has noise")
        if self.checkpoint_every < 1:
            raise ValueError("checkpoint_every must be at least 1")
        if self.mechanism not in ("gaussian", "blt"):
            raise ValueError("mechanism must be gaussian or blt")
        if self.mechanism == "gaussian" and self.report_goal:
            raise ValueError("no decision may depend on a secret count: no report_goal")
        if self.mechanism == "blt" and self.rounds and self.ceiling is not None and not self.theta:
            raise ValueError("a blt run needs theta and omega")
        self._check_statistics()
        self._check_secure_sum()

    def _check_statistics(self) -> None:
        if bool(self.statistics) != (self.statistics_settings is not None):
            raise ValueError("statistics_settings must be there exactly when statistics are")
        if self.statistics and tuple(one.name for one in self.statistics) != STATISTICS:
            raise ValueError(f"statistics must be {' and '.join(STATISTICS)}, in that order")
        if self.frozen != tuple(self.tensors)[: len(self.frozen)]:
            raise ValueError("frozen must be the names of the first tensors, in order")
        if self.rounds:
            return
        if self.mechanism == "gaussian" and self.ceiling is not None:
            raise ValueError("mechanism must be blt without rounds: no coin is drawn")
        if any(metric.releases != 1 for metric in self.metrics):
            raise ValueError("releases of a figure must be 1 without rounds")

    def _check_secure_sum(self) -> None:
        if not (0.0 <= self.max_corrupt < 1.0 and 0.0 <= self.max_dropout < 1.0):
            raise ValueError("max_corrupt and max_dropout must be at least 0 and below 1")
        if self.min_nodes < _LEAST_NODES:
            raise ValueError(f"min_nodes must be at least {_LEAST_NODES}: fewer keep no secret")
        if self.secagg and self.cohort_cap > self.lattice.max_devices:
            raise ValueError("the largest cohort's secure sum would not fit 32 bits")

    @property
    def frozen_size(self) -> int:
        """Numbers of the model that no round changes: the first of its flat vector."""
        return sum(math.prod(self.tensors[name]) for name in self.frozen)

    @property
    def trained_size(self) -> int:
        """Numbers of the model that rounds change: the length of a contribution."""
        return sum(math.prod(shape) for shape in self.tensors.values()) - self.frozen_size

    @property
    def recipe(self) -> Recipe:
        """How the run trains."""
        if not self.statistics:
            return "rounds"
        return "both" if self.rounds else "statistics"

    def figure_rounds(self, plan: MetricPlan) -> list[int]:
        """Return after which rounds a figure is released; 0 is after the statistics."""
        return plan.rounds(self.rounds, 0 if self.statistics else 1)

    @property
    def accounted_delta(self) -> float:
        """The delta composition may use; the rest is kept for the noise sampler's own error."""
        return accounted_delta(self.delta)

    @property
    def sampler_delta(self) -> float:
        """The part of delta kept for the noise sampler's own error."""
        return self.delta * _SAMPLER_SHARE

    @property
    def lattice(self) -> Lattice:
        """The lattice contributions lie on."""
        return Lattice(clip_norm=self.clip_norm, bits=self.lattice_bits)

    @property
    def participation(self) -> Participation:
        """How often a device may join."""
        return Participation(
            rounds=self.rounds,
            min_separation=self.min_separation,
            max_rounds=self.max_rounds_per_device or self.rounds,
        )

    def learning_rate_at(self, number: int) -> float:
        """Return the server learning rate of a round, from 1."""
        if self.final_learning_rate is None or self.rounds == 1:
            return self.learning_rate
        share = (number - 1) / (self.rounds - 1)
        return self.learning_rate + share * (self.final_learning_rate - self.learning_rate)

    def mechanism_for(self, dim: int) -> Mechanism:
        """Return the mechanism of the run, before its first round.

        Args:
            dim: Coordinates of a release.
        """
        if self.ceiling is None:
            return NoNoise(lattice=self.lattice)
        if self.mechanism == "gaussian":
            return GaussianMechanism(self.lattice, self.noise_multiplier)
        return BltMechanism(
            self.lattice,
            noise_multiplier=self.noise_multiplier,
            parameters=BltParameters(theta=self.theta, omega=self.omega),
            participation=self.participation,
            dim=dim,
        )

    def round_charge(self) -> PoissonRounds | None:
        """Return what one round costs; None where the whole run was paid for before."""
        return None if self.mechanism == "blt" else self._rounds(1)

    def run_charge(self) -> CorrelatedRun | None:
        """Return what a whole ``blt`` run costs; None where rounds are charged one by one."""
        return self._whole() if self.mechanism == "blt" and self.rounds else None

    def _rounds(self, rounds: int) -> PoissonRounds:
        return PoissonRounds(
            population=self.devices,
            cohort_size=self.cohort_size,
            cohort_cap=self.cohort_cap,
            noise_multiplier=self.noise_multiplier,
            count_multiplier=self.count_multiplier,
            rounds=rounds,
        )

    def _whole(self) -> CorrelatedRun:
        return CorrelatedRun(
            noise_multiplier=self.noise_multiplier,
            sensitivity=self.sensitivity,
            rounds=self.rounds,
            min_separation=self.min_separation,
            max_rounds=self.participation.max_rounds,
            theta=self.theta,
            omega=self.omega,
        )

    def training_charge(self) -> Charge:
        """Return what the rounds cost over the whole run; without rounds a charge of nothing."""
        if not self.rounds:
            return GaussianReleases(noise_multiplier=1.0, releases=0, part="training")
        return self._whole() if self.mechanism == "blt" else self._rounds(self.rounds)

    def before_first_round(self) -> list[tuple[str, Charge]]:
        """Return what is charged before the first round, by name of the purchase."""
        bought = self.tuning_charges()
        whole = self.run_charge()
        if whole is not None:
            bought.append((RUN, whole))
        return bought

    def tuning_charges(self) -> list[tuple[str, Charge]]:
        """Return what runs like this one cost that were made to choose its settings, by name."""
        if not self.tuning_runs:
            return []
        bought: list[tuple[str, Charge]] = [
            (f"{TUNING}/{one.name}", replace(one.charge(self.tuning_runs), part="tuning"))
            for one in self.statistics
        ]
        return [*bought, (TUNING, self.tuning_charge())] if self.rounds else bought

    def tuning_charge(self) -> Charge:
        """Return what the rounds of runs like this one cost that were made to choose settings."""
        if self.mechanism == "blt":
            return replace(self._whole(), runs=self.tuning_runs, part="tuning")
        return self._rounds(self.rounds * self.tuning_runs).with_part("tuning")

    def whole_charge(self) -> list[Charge]:
        """Return everything the run charges, start to end, as its plan knows it."""
        charges: list[Charge] = [one.charge() for one in self.statistics]
        if self.rounds:
            charges.append(self.training_charge())
        charges += [charge for _, charge in self.tuning_charges()]
        return charges + [metric.charge(metric.releases) for metric in self.metrics]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        settings = self.statistics_settings
        return {
            **fields,
            "tensors": {name: list(shape) for name, shape in self.tensors.items()},
            "theta": list(self.theta),
            "omega": list(self.omega),
            "frozen": list(self.frozen),
            "metrics": [asdict(metric) for metric in self.metrics],
            "statistics": [asdict(one) for one in self.statistics],
            "statistics_settings": settings and asdict(settings),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunSpec":
        """Read what ``to_dict`` returned.

        Raises:
            ValueError: If a field is missing, unknown or out of range.
        """
        try:
            settings = values.get("statistics_settings")
            changed = {
                "tensors": {name: tuple(shape) for name, shape in values["tensors"].items()},
                "metrics": tuple(MetricPlan(**metric) for metric in values.get("metrics", ())),
                "theta": tuple(values.get("theta", ())),
                "omega": tuple(values.get("omega", ())),
                "frozen": tuple(values.get("frozen", ())),
                "statistics": tuple(StatisticPass(**one) for one in values.get("statistics", ())),
                "statistics_settings": settings and StatisticsSettings(**settings),
            }
            return cls(**{**values, **changed})
        except (KeyError, TypeError) as error:
            raise ValueError("a run's spec has missing or unknown fields") from error
