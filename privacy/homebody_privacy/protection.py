"""``[dp]`` of ``privacy.toml``: the promise to one user, and what keeps it."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .blt import BltParameters, Participation
from .config_digest import LATER

STRICT: Final = ConfigDict(
    strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
"""No unknown field, no number for a word, no NaN, nothing to change afterwards."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Names = Annotated[tuple[Name, ...], Field(strict=False)]  # TOML has lists, not tuples
Text = Annotated[str, Field(min_length=1)]
Numbers = Annotated[tuple[float, ...], Field(strict=False)]

Mechanism = Literal["blt", "gaussian"]

Recipe = Literal["statistics", "rounds", "both"]
"""How a run trains: one-shot statistics, gradient rounds, or rounds from where statistics led."""


class RecordLevel(BaseModel):
    """DP-SGD on the device: a second promise, about one event, reported apart."""

    model_config = STRICT

    enabled: bool
    """Whether local training uses it."""
    max_grad_norm: float = Field(gt=0)
    """L2 bound of one record's gradient."""
    noise_multiplier: float = Field(gt=0)
    """Noise on the sum of gradients / max_grad_norm."""
    sampling_rate: Annotated[float, LATER] = Field(default=1.0, gt=0, le=1)
    """Probability that a record is in a step's batch; 1, by default, is every record."""
    steps: Annotated[int, LATER] = Field(default=1, ge=1)
    """Optimizer steps in one round."""
    delta: float = Field(gt=0, lt=1)
    """Failure chance of this promise."""
    epsilon_max: float | None = Field(default=None, gt=0)
    """The device refuses a round that would bring its own count past it; by default it counts."""


class Correlation(BaseModel):
    """The noise's strategy, fixed in advance; ``homebody plan`` prints one for a file."""

    model_config = STRICT

    theta: Numbers
    """Share of each buffer that is kept per round, in (0, 1)."""
    omega: Numbers
    """Weight of each buffer, above 0, sum at most 1."""

    def parameters(self) -> BltParameters:
        """Return the strategy.

        Raises:
            ValueError: If it is none whose sensitivity is known: a share outside (0, 1), a weight
                that is not above 0, or weights that sum to more than 1.
        """
        return BltParameters(theta=self.theta, omega=self.omega)


class Protection(BaseModel):
    """The promise to one user, and what keeps it."""

    model_config = STRICT

    unit: Literal["user", "record"]
    """``user``: all data of one device. Nothing runs under another unit."""
    adjacency: Literal["zero_out", "add_remove", "replace_one"]
    """``zero_out``: two worlds differ in one device, whose contribution becomes zero. Nothing runs
    under another."""
    mechanism: Literal["blt", "gaussian", "none"]
    """``blt``: correlated noise, nothing assumed about who comes. ``gaussian``: independent noise
    on secret Poisson cohorts. Nothing runs under ``none``."""
    accountant: Literal["pld"]
    """The reference; the limit-theorem accountant ("gdp") reports less than the truth."""
    sampling: Literal["poisson", "none"]
    """``poisson`` with ``gaussian``: one secret coin for each device and round. ``none`` with
    ``blt``."""
    amplification: bool
    """Whether epsilon takes credit for the secret coins: true with ``poisson`` alone; the figure
    without it is printed beside it."""
    clip_norm: float = Field(ge=1e-200)
    """L2 bound of one device's update, in model units; where it adapts, the first one."""
    adaptive_clip: bool
    """Whether the clip norm follows the median of the updates' norms, by a count that is noised
    and charged; with ``gaussian`` only."""
    noise_by: Literal["server", "devices"]
    """Who adds the noise; devices do not yet, and nothing runs that says so."""
    lattice_bits: Annotated[int, LATER] = Field(default=16, ge=16, le=20)
    """Binary digits of the clip norm: step = clip_norm / 2**lattice_bits; by default 16."""
    rounds: int = Field(ge=1)
    """Rounds of one run, fixed in advance."""
    min_separation: int = Field(ge=1)
    """Rounds from one join of a device to its next; the device refuses an earlier one. 1 with
    ``gaussian``, whose coins know no past."""
    max_rounds_per_device: int = Field(ge=1)
    """Rounds of a run one device may join; the device counts. All rounds with ``gaussian``."""
    device_epsilon_max: float | None = Field(default=None, gt=0)
    """What a device may spend by its own count over its life, without credit for sampling. By
    default epsilon_max with ``blt``; with ``gaussian`` the device counts and sets no limit."""
    cohort_size: int = Field(ge=1)
    """Expected cohort and constant denominator."""
    cohort_cap: int = Field(ge=1)
    """Most devices of one round: at least size + 5 * sqrt(size) with ``gaussian``."""
    epsilon_max: float = Field(gt=0)
    """Hard stop for everything that leaves, over the budget's scope."""
    delta: float = Field(gt=0, lt=1)
    """Failure chance; below 1 / population."""
    budget_scope: Literal["run", "lifetime"]
    """Whether runs on the same people spend one budget."""
    tuning_data: Literal["public", "synthetic", "private"]
    """What the settings were tuned on; on private data each run of it is charged."""
    tuning_runs: int = Field(ge=0)
    """How many tuning runs there were that are in no ledger."""
    pretraining: Text
    """Source and licence of what the model started from; ``none`` for nothing."""
    noise_multiplier: float | None = Field(default=None, gt=0)
    """Noise on the sum / clip norm; with ``blt`` before it is correlated. By default the least
    that keeps a run to the epsilon it asks for; a run fixes it in its own file."""
    blt: Correlation | None = None
    """The noise's strategy; by default the best one for rounds, separation and cap."""
    record: RecordLevel | None = None
    """The second layer; by default none."""

    @property
    def participation(self) -> Participation:
        """How often a device may join."""
        return Participation(
            rounds=self.rounds,
            min_separation=self.min_separation,
            max_rounds=self.max_rounds_per_device,
        )

    @property
    def noise(self) -> Mechanism:
        """The mechanism, of a config that may run.

        Raises:
            ValueError: If there is none.
        """
        if self.mechanism == "none":
            raise ValueError("no noise is added: nothing may run")
        return self.mechanism

    @model_validator(mode="after")
    def _refuse_a_cap_below_the_cohort(self) -> Self:
        if self.cohort_cap < self.cohort_size:
            raise ValueError("cohort_cap must be at least cohort_size")
        return self

    @model_validator(mode="after")
    def _refuse_an_overflow(self) -> Self:
        if self.cohort_cap << self.lattice_bits >= 1 << 31:
            raise ValueError(
                "cohort_cap * 2**lattice_bits must stay below 2**31, so that a sum fits 32 bits: "
                "lower one of them"
            )
        return self
