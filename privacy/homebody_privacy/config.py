"""``privacy.toml``: what is processed, why, and how it is protected; the approved file.

Strict: no unknown field, no number for a word, no NaN, and few defaults, each named in its
docstring. What cannot be switched off is not a field. The digest is the SHA-256 of the RFC 8785
JSON with defaults filled in. The promise itself, ``[dp]``, is ``protection``'s.
"""

import hashlib
import math
import tomllib
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, Field, ValidationError, model_validator

from .consent_config import Consent, Text
from .consent_terms import ConsentTerms, GroupTerms, PurposeTerms
from .errors import InfeasibleError, InvalidFileError, PolicyViolationError
from .protection import STRICT, Name, Names, Protection, Recipe
from .statistics_config import Statistics

_LEAVING: Final = "training"  # the purpose every update is sent under

Exclusion = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*:.+$")]


class Activity(BaseModel):
    """Who processes, and for what."""

    model_config = STRICT

    name: Text
    """What people know it as."""
    controller: Text
    """Who decides, with legal form."""
    contact: Text
    """Where people write to."""
    policy_version: int = Field(default=1, ge=1)
    """Version of the notice; a higher one makes every device ask again."""


class Purpose(BaseModel):
    """One use of data: one switch, off until the person turns it on."""

    model_config = STRICT

    title: Text
    """What the person reads beside the switch."""
    leaves_device: bool
    """Whether anything computed from the data is sent."""
    requires: Names = ()
    """Purposes that must be on too."""


class FeatureGroup(BaseModel):
    """Data that is allowed or refused together."""

    model_config = STRICT

    fields: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    """What is kept of each event."""
    events: Names = ()
    """Kinds of event that belong to the group; by default every kind that has one of the fields."""
    allow: Names
    """Purposes that may read it: the matrix."""
    ttl_days: int = Field(ge=1)
    """Days a row stays on the device."""
    max_rows: int = Field(default=1_000, ge=1)
    """Most rows a device keeps; the oldest go first."""
    exclude: Annotated[tuple[Exclusion, ...], Field(strict=False)] = ()
    """``field:value`` pairs; an event that holds one is never kept."""
    sensitivity: Literal["ordinary", "elevated", "special", "criminal"] = "ordinary"
    """Special: GDPR Art. 9; criminal: Art. 10. Neither may feed a purpose that leaves."""
    risk_ref: str = ""
    """Entry of the impact assessment that covers it."""
    user_editable: bool = True
    """Whether the person may correct a row (GDPR Art. 16)."""


class Metric(BaseModel):
    """A figure about people that may be released; what is not listed cannot be sent."""

    model_config = STRICT

    purpose: Name
    """The switch it is sent under; it must leave the device."""
    features: Names
    """Feature groups it reads; each must allow the purpose."""
    noise_multiplier: float = Field(gt=0)
    """Noise on the sum over all devices, each of which adds a vector of norm at most 1."""
    releases_per_run: int = Field(ge=1)
    """How often in a run, at most once a round, and once before the first of a run that starts
    from statistics; all are charged."""


class Aggregation(BaseModel):
    """How the replies of a round are put together."""

    model_config = STRICT

    secagg: bool = True
    """Whether replies are summed by secure aggregation: a deployment must, a simulation may."""
    max_dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of the nodes of a secure sum that may vanish without making it void."""
    max_corrupt: float = Field(default=0.1, ge=0, lt=1)
    """Share of them that may work against the others, together with the server."""
    min_nodes: int = Field(default=3, ge=3)
    """Nodes a secure sum needs; with fewer it is void: a sum of one or two is no secret."""
    report_goal: int | None = Field(default=None, ge=1)
    """Replies a round needs; with fewer it is void. By default none. Not with ``gaussian``: a
    decision that depends on the secret number of devices would be a release."""


class PrivacyConfig(BaseModel):
    """The whole file."""

    model_config = STRICT

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
    statistics: Statistics | None = None
    """One-shot sums a run starts from; by default none, and a run has rounds alone."""
    metrics: dict[Name, Metric] = Field(default_factory=dict)
    """Figures about people that may be released, by name; by default none."""
    consent: Consent = Field(default_factory=Consent)
    """How long an answer holds; by default as ``[consent]`` says."""
    aggregation: Aggregation = Field(default_factory=Aggregation)
    """How replies are put together; by default by secure aggregation, without a goal."""

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

    @model_validator(mode="after")
    def _refuse_metrics_nobody_allowed(self) -> Self:
        for name, metric in self.metrics.items():
            purpose = self.purposes.get(metric.purpose)
            if purpose is None or not purpose.leaves_device:
                raise ValueError(
                    f"metrics.{name}.purpose must be a purpose of this file that leaves the device"
                )
            for group in metric.features:
                if group not in self.features or metric.purpose not in self.features[group].allow:
                    raise ValueError(
                        f"metrics.{name}.features names {group}, which does not allow "
                        f"{metric.purpose}"
                    )
            more = self.recipe == "both"  # where the statistics led is asked about too
            if metric.releases_per_run > self.dp.rounds + more:
                most = "dp.rounds + 1" if more else "dp.rounds"
                raise ValueError(f"metrics.{name}.releases_per_run must be at most {most}")
        return self

    @model_validator(mode="after")
    def _refuse_rounds_there_are_none_of(self) -> Self:
        if self.statistics is None:
            return self
        dp = self.dp
        if self.recipe == "both":
            if dp.noise_multiplier is not None and self.statistics.gram_multiplier is None:
                raise ValueError(
                    "dp.noise_multiplier fixes the noise of the rounds: statistics needs "
                    "popularity_multiplier and gram_multiplier too"
                )
            return self
        if dp.mechanism != "blt" or dp.noise_multiplier is not None or dp.blt is not None:
            raise ValueError(
                'statistics.recipe = "statistics" has no rounds: dp.mechanism must be "blt", which '
                "takes no credit for coins, and dp.noise_multiplier and dp.blt must be left out"
            )
        for name, metric in self.metrics.items():
            if metric.releases_per_run != 1:
                raise ValueError(
                    f"metrics.{name}.releases_per_run must be 1: there is one model to ask about"
                )
        return self

    @model_validator(mode="after")
    def _refuse_a_goal_for_secret_cohorts(self) -> Self:
        if self.aggregation.report_goal is None:
            return self
        if self.dp.mechanism == "gaussian":
            raise ValueError(
                "aggregation.report_goal needs dp.mechanism = blt: with gaussian no decision may "
                "depend on how many came"
            )
        if self.aggregation.report_goal > self.dp.cohort_size:
            raise ValueError("aggregation.report_goal must be at most dp.cohort_size")
        return self

    @property
    def recipe(self) -> Recipe:
        """How a run of the file trains."""
        return "rounds" if self.statistics is None else self.statistics.recipe

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

    def consent_terms(self) -> ConsentTerms:
        """Return what a device needs of this file to keep consent."""
        rules = self.consent.model_dump(exclude={"notices"})
        return ConsentTerms(
            config_sha256=self.digest(),
            revision=self.revision,
            policy_version=self.activity.policy_version,
            purposes={n: PurposeTerms(**dict(p)) for n, p in self.purposes.items()},
            groups={n: GroupTerms(**dict(g)) for n, g in self.features.items()},
            notices={language: n.sha256 for language, n in self.consent.notices.items()},
            **rules,
        )

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
    rounds = config.recipe != "statistics"
    if rounds and dp.cohort_size > population:
        raise InfeasibleError(
            f"dp.cohort_size is {dp.cohort_size}, but the population has {population} devices",
            fix=f"set dp.cohort_size to at most {population} or enrol more devices",
        )
    if rounds and dp.mechanism == "blt":
        _check_separation(config, population)
    if dp.delta * population >= 1.0:
        raise PolicyViolationError(
            f"dp.delta is {dp.delta:g}, not below 1/population = {1 / population:.3g}: one device "
            "could lose everything",
            fix=f"set dp.delta below {1 / population:.3g}",
        )


def _check_separation(config: PrivacyConfig, population: int) -> None:
    """Refuse a plan that could not fill its rounds without asking a device too early."""
    dp = config.dp
    if dp.min_separation * dp.cohort_size > population:
        raise InfeasibleError(
            f"cohorts of {dp.cohort_size} that keep dp.min_separation = {dp.min_separation} need "
            f"{dp.min_separation * dp.cohort_size} devices, the population has {population}",
            fix=f"set dp.min_separation to at most {population // dp.cohort_size}, or ask for a "
            "smaller --cohort",
        )
    if dp.rounds * dp.cohort_size > population * dp.max_rounds_per_device:
        least = math.ceil(dp.rounds * dp.cohort_size / population)
        raise InfeasibleError(
            f"{dp.rounds} rounds of {dp.cohort_size} devices are more than {population} devices "
            f"that join at most {dp.max_rounds_per_device} rounds each can fill",
            fix=f"set dp.max_rounds_per_device to at least {least}, or ask for fewer rounds",
        )


def _check_known(field: str, names: tuple[str, ...], purposes: Mapping[str, Purpose]) -> None:
    unknown = sorted(set(names) - set(purposes))
    if unknown:
        raise ValueError(f"{field} names {', '.join(unknown)}, which is no purpose of this file")


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "(whole file)"


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")
