"""What a run was asked to do: fixed before the first round, read by the server app alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homebody_privacy.charges import PoissonRounds
from homebody_privacy.lattice import Lattice
from homebody_server.release import ServerOptimizer

_SAMPLER_SHARE = 1e-3
SAMPLER_EPSILON = 1e-6
"""What the noise sampler may add to epsilon; the plan leaves room for it."""


def accounted_delta(delta: float) -> float:
    """Return the part of ``delta`` composition may use; the rest is the noise sampler's."""
    return delta * (1.0 - _SAMPLER_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The constants of a run. Public.

    Attributes:
        rounds: Rounds to run, fixed in advance.
        devices: Enrolled devices N, the population of the accounting.
        cohort_size: Expected cohort and constant denominator; q = cohort_size / devices.
        cohort_cap: Most devices of a round.
        clip_norm: L2 bound of one device's contribution.
        lattice_bits: The lattice step is clip_norm / 2**lattice_bits.
        noise_multiplier: Noise standard deviation on the sum over the clip norm; 0 is a laboratory
            reference without differential privacy.
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

    def __post_init__(self) -> None:
        """Refuse what no run can do."""
        if self.rounds < 1 or not 1 <= self.cohort_size <= self.devices:
            raise ValueError("rounds must be at least 1 and cohort_size within 1..devices")
        if not self.learning_rate > 0.0 or not self.deadline_s > 0.0:
            raise ValueError("learning_rate and deadline_s must be positive")
        if self.final_learning_rate is not None and not self.final_learning_rate > 0.0:
            raise ValueError("final_learning_rate must be positive")
        if (self.ceiling is None) != (self.noise_multiplier == 0.0):
            raise ValueError("a run has a ceiling exactly when it has noise")

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

    def learning_rate_at(self, number: int) -> float:
        """Return the server learning rate of a round, from 1."""
        if self.final_learning_rate is None or self.rounds == 1:
            return self.learning_rate
        share = (number - 1) / (self.rounds - 1)
        return self.learning_rate + share * (self.final_learning_rate - self.learning_rate)

    def charge(self) -> PoissonRounds:
        """Return what one round costs."""
        return PoissonRounds(
            population=self.devices,
            cohort_size=self.cohort_size,
            cohort_cap=self.cohort_cap,
            noise_multiplier=self.noise_multiplier,
            rounds=1,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "tensors": {name: list(shape) for name, shape in self.tensors.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunSpec":
        """Read what ``to_dict`` returned.

        Raises:
            ValueError: If a field is missing, unknown or out of range.
        """
        try:
            shapes = {name: tuple(shape) for name, shape in values["tensors"].items()}
            return cls(**{**values, "tensors": shapes})
        except (KeyError, TypeError) as error:
            raise ValueError("a run's spec has missing or unknown fields") from error
