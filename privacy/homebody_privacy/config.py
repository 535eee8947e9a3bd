"""``privacy.toml``: what is processed, why, and how it is protected; the approved file.

Strict: no unknown field, no number for a word, no NaN, and a default in three places only
(``purposes.*.requires``, ``dp.lattice_bits``, ``dp.record``). What cannot be switched off is not
a field. The digest is the SHA-256 of the RFC 8785 JSON with defaults filled in.
"""

import hashlib
import math
import tomllib
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .charges import round_up
from .errors import InfeasibleError, InvalidFileError, PolicyViolationError

_STRICT: Final = ConfigDict(
    strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
_LEAVING: Final = "training"  # the purpose every update is sent under

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]  # TOML has lists, not tuples


class Activity(BaseModel):
    """Who processes, and for what."""

    model_config = _STRICT

    name: Text
    """What people know it as."""
    controller: Text
    """Who decides, with legal form."""
    contact: Text
    """Where people write to."""


class Purpose(BaseModel):
    """One use of data: one switch, off until the person turns it on."""

    model_config = _STRICT

    title: Text
    """What the person reads beside the switch."""
    leaves_device: bool
    """Whether anything computed from the data is sent."""
    requires: Names = ()
    """Purposes that must be on too."""


class FeatureGroup(BaseModel):
    """Data that is allowed or refused together."""

    model_config = _STRICT

    fields: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    """What is kept of each event."""
    allow: Names
    """Purposes that may read it: the matrix."""
    ttl_days: int = Field(ge=1)
    """Days a row stays on the device."""


class RecordLevel(BaseModel):
    """DP-SGD on the device: a second promise, about one event, reported apart."""

    model_config = _STRICT

    enabled: bool = False
    """Whether local training uses it."""
    max_grad_norm: float = Field(gt=0)
    """L2 bound of one record's gradient."""
    noise_multiplier: float = Field(gt=0)
    """Noise on the sum of gradients / max_grad_norm."""
    sampling_rate: float = Field(gt=0, le=1)
    """Probability that a record is in a step's batch."""
    steps: int = Field(ge=1)
    """Optimizer steps in one round."""
    delta: float = Field(gt=0, lt=1)
    """Failure chance of this promise."""


class Protection(BaseModel):
    """The promise to one user, and what keeps it."""

    model_config = _STRICT

    unit: Literal["user"]
    """All data of one device."""
    adjacency: Literal["zero_out"]
    """Two worlds differ in one device, whose contribution becomes zero."""
    mechanism: Literal["gaussian"]
    """Independent Gaussian noise on each round's sum."""
    accountant: Literal["pld"]
    """The reference; the limit-theorem accountant ("gdp") reports less than the truth."""
    sampling: Literal["poisson"]
    """One secret coin for each device and round."""
    amplification: Literal[True]
    """Epsilon takes credit for the secret coins; the figure without it is printed beside it."""
    clip_norm: float = Field(ge=1e-200)
    """L2 bound of one device's update, in model units."""
    lattice_bits: int = Field(default=16, ge=16, le=20)
    """Binary digits of the clip norm: step = clip_norm / 2**lattice_bits."""
    rounds: int = Field(ge=1)
    """Rounds of one run, fixed in advance."""
    cohort_size: int = Field(ge=1)
    """Expected cohort and constant denominator."""
    cohort_cap: int = Field(ge=1)
    """Most devices of one round, at least size + 5 * sqrt(size)."""
    epsilon_max: float = Field(gt=0)
    """Hard stop for everything that leaves, over the budget's scope."""
    delta: float = Field(gt=0, lt=1)
    """Failure chance; below 1 / population."""
    budget_scope: Literal["run", "lifetime"]
    """Whether runs on the same people spend one budget."""
    tuning_data: Literal["public", "synthetic"]
    """What the settings were tuned on; on private data it is a release, and none is charged."""
    tuning_runs: int = Field(ge=0)
    """How many tuning runs there were."""
    record: RecordLevel | None = None
    """The second layer; None where there is none."""

    @model_validator(mode="after")
    def _refuse_a_binding_cap(self) -> Self:
        least = self.cohort_size + 5.0 * math.sqrt(self.cohort_size)
        if self.cohort_cap < least:
            raise ValueError(
                f"cohort_cap must be at least {math.ceil(least)} = cohort_size + 5 * "
                "sqrt(cohort_size): a cap that often binds costs most of the amplification"
            )
        return self

    @model_validator(mode="after")
    def _refuse_an_overflow(self) -> Self:
        if self.cohort_cap << self.lattice_bits >= 1 << 31:
            raise ValueError(
                "cohort_cap * 2**lattice_bits must stay below 2**31, so that a sum fits 32 bits: "
                "lower one of them"
            )
        return self


class PrivacyConfig(BaseModel):
    """The whole file."""

    model_config = _STRICT

    version: Literal["privacy/1"] = Field(alias="schema")
    """Format of the file; ``schema`` in it."""
    revision: int = Field(ge=1)
    """Grows with each change of the file."""
    activity: Activity
    """Who processes, and for what."""
    purposes: dict[Name, Purpose]
    """The switches by name; ``training`` is one of them."""
    features: dict[Name, FeatureGroup]
    """The data by name."""
    dp: Protection
    """The promise to one user."""

    @model_validator(mode="after")
    def _refuse_unknown_purposes(self) -> Self:
        for name, purpose in self.purposes.items():
            _check_known(f"purposes.{name}.requires", purpose.requires, self.purposes)
        for name, group in self.features.items():
            _check_known(f"features.{name}.allow", group.allow, self.purposes)
        return self

    @model_validator(mode="after")
    def _refuse_circles(self) -> Self:
        graph = {name: purpose.requires for name, purpose in self.purposes.items()}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise ValueError(f"purposes.*.requires goes in a circle: {circle}") from error
        return self

    @model_validator(mode="after")
    def _require_training(self) -> Self:
        training = self.purposes.get(_LEAVING)
        if training is None:
            raise ValueError(f"purposes.{_LEAVING} is missing: updates are sent under it")
        if not training.leaves_device:
            raise ValueError(f"purposes.{_LEAVING}.leaves_device must be true: updates are sent")
        return self

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check a file.

        Args:
            path: TOML file.

        Raises:
            InvalidFileError: If it is missing, no TOML (the message names the line) or breaks the
                schema (it names each field, dotted).
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidFileError(
                f"{path}: cannot be read: {error.strerror}", fix="name an existing privacy.toml"
            ) from error
        except UnicodeDecodeError as error:
            raise InvalidFileError(
                f"{path}: byte {error.start} is not UTF-8", fix="save the file as UTF-8"
            ) from error
        except tomllib.TOMLDecodeError as error:
            raise InvalidFileError(f"{path}: not TOML: {error}") from error
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{path}: {_field(e['loc'])}: {_reason(e['msg'])}" for e in error.errors()]
            raise InvalidFileError("\n".join(lines), fix="correct the named fields") from error

    def digest(self) -> str:
        """Return the SHA-256 of the RFC 8785 JSON with defaults filled in, as hex."""
        return hashlib.sha256(
            rfc8785.dumps(self.model_dump(mode="json", by_alias=True))
        ).hexdigest()


def check_population(config: PrivacyConfig, population: int) -> None:
    """Refuse a config that does not fit the number of devices.

    Args:
        config: Config of the run.
        population: Registered, eligible and consenting devices. Public.

    Raises:
        InfeasibleError: If the expected cohort is larger than the population.
        PolicyViolationError: If ``dp.delta`` is not below 1 / population.
    """
    dp = config.dp
    if dp.cohort_size > population:
        raise InfeasibleError(
            f"dp.cohort_size is {dp.cohort_size}, but the population has {population} devices",
            fix=f"set dp.cohort_size to at most {population} or enrol more devices",
        )
    if dp.delta * population >= 1.0:
        raise PolicyViolationError(
            f"dp.delta is {dp.delta:g}, not below 1/population = {1 / population:.3g}: one device "
            "could lose everything",
            fix=f"set dp.delta below {1 / population:.3g}",
        )


def statement(config: PrivacyConfig, *, epsilon: float, rounds: int) -> str:
    """Generate the one sentence a claim of this config may be made in.

    Args:
        config: Config the rounds ran under.
        epsilon: Upper bound at user level, amplified, over the budget's scope; rounded up here.
        rounds: Rounds charged.

    Returns:
        Unit, epsilon, delta, adjacency, who adds the noise, what is covered and what is not.

    Raises:
        ValueError: If ``epsilon`` is negative or NaN, or ``rounds`` is negative.
    """
    if not epsilon >= 0.0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
    if rounds < 0:
        raise ValueError(f"rounds must be at least 0, got {rounds}")
    if math.isinf(epsilon):
        return f"No noise was added over {rounds} rounds: nothing is claimed about any user."
    # A figure that was rounded up before stays what it is: its nearest float may lie above it.
    rounded = epsilon if epsilon == round(epsilon, 3) else round_up(epsilon, 3)
    shown = f"{rounded:.3f}".rstrip("0").rstrip(".")
    scope = "this run" if config.dp.budget_scope == "run" else "all runs on the same devices"
    return (
        f"User level, (ε = {shown}, δ = {config.dp.delta:g}), zero-out adjacency, "
        f"central noise added by the server, over {rounds} rounds; covers every model released by "
        f"{scope}, toward recipients who cannot see which devices take part; does not cover "
        "who takes part and when, facts about groups, or a second device of the same person."
    )


def _check_known(field: str, names: tuple[str, ...], purposes: Mapping[str, Purpose]) -> None:
    unknown = sorted(set(names) - set(purposes))
    if unknown:
        raise ValueError(f"{field} names {', '.join(unknown)}, which is no purpose of this file")


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "(whole file)"


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")
