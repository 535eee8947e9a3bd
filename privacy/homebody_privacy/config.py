"""``privacy.toml``: what is processed, why, and how it is protected; the approved file.

Strict: no unknown field, no number for a word, no NaN, and few defaults, each named in its
docstring. What cannot be switched off is not a field. The digest is the SHA-256 of the RFC 8785
JSON with defaults filled in. The promise itself, ``[dp]``, is ``protection``'s.
"""

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from .config_digest import config_digest
from .config_sections import (
    Activity,
    Aggregation,
    ApprovalTerms,
    FeatureGroup,
    LedgerTerms,
    Metric,
    Purpose,
    Release,
    Retention,
    Rights,
    Transparency,
    Transport,
)
from .consent_config import Consent
from .consent_terms import ConsentTerms, GroupTerms, PurposeTerms
from .errors import InfeasibleError, InvalidFileError, PolicyViolationError
from .premises import require_premises
from .protection import STRICT, Name, Protection, Recipe
from .statistics_config import Statistics
from .toml_file import read_toml


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
    consent: Consent
    """How long an answer holds."""
    dp: Protection
    """The promise to one user."""
    statistics: Statistics | None = None
    """One-shot sums a run starts from; by default none, and a run has rounds alone."""
    metrics: dict[Name, Metric] = Field(default_factory=dict)
    """Figures about people that may be released, by name; by default none."""
    aggregation: Aggregation
    """How replies are put together."""
    transport: Transport
    """What everything travels in."""
    release: Release
    """What must hold before something is given out."""
    retention: Retention
    """What the server keeps."""
    rights: Rights
    """What a withdrawal does to a trained model."""
    transparency: Transparency
    """What people are told of the ranking."""
    ledger: LedgerTerms
    """How the ledger is signed."""
    approval: ApprovalTerms
    """Who is asked before anything runs."""

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

    @property
    def recipe(self) -> Recipe:
        """How a run of the file trains."""
        return "rounds" if self.statistics is None else self.statistics.recipe

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check a file that is to run.

        Args:
            path: TOML file.

        Raises:
            InvalidFileError: As ``read``.
            PolicyViolationError: If a premise of its figures is broken (``premises``): nothing may
                run under it, in a simulation neither.
        """
        config = cls.read(path)
        require_premises(config, str(path))
        return config

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a file that is to be looked at: by its schema alone.

        Args:
            path: TOML file.

        Raises:
            InvalidFileError: If it is missing, no TOML (the message names the line) or breaks the
                schema (it names each field, dotted).
        """
        values = read_toml(path, "privacy.toml")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{path}: {_field(e['loc'])}: {_reason(e['msg'])}" for e in error.errors()]
            raise InvalidFileError("\n".join(lines), fix="correct the named fields") from error

    def consent_terms(self) -> ConsentTerms:
        """Return what a device needs of this file to keep consent."""
        rules = self.consent.model_dump(exclude={"notices", "server_copy"})
        return ConsentTerms(
            config_sha256=self.digest(),
            revision=self.revision,
            policy_version=self.activity.policy_version,
            purposes={n: PurposeTerms(**_of(PurposeTerms, p)) for n, p in self.purposes.items()},
            groups={n: GroupTerms(**_of(GroupTerms, g)) for n, g in self.features.items()},
            notices={language: n.sha256 for language, n in self.consent.notices.items()},
            trained_model=self.rights.trained_model,
            retrain_every_days=self.rights.retrain_every_days,
            main_parameters=self.transparency.main_parameters,
            **rules,
        )

    def digest(self) -> str:
        """Return the SHA-256 of the file's canonical JSON, as hex (``config_digest``)."""
        return config_digest(self)


def _of(terms: type[PurposeTerms | GroupTerms], value: BaseModel) -> dict[str, Any]:
    return {name: getattr(value, name) for name in terms.__slots__}


def check_population(config: PrivacyConfig, population: int) -> None:
    """Refuse a config that does not fit the number of devices.

    Args:
        config: Config of the run.
        population: Registered, eligible and consenting devices. Public.

    Raises:
        InfeasibleError: If the expected cohort is larger than the population, or the report goal
            than the cohort.
        PolicyViolationError: If ``dp.delta`` is not below 1 / population.
    """
    dp = config.dp
    rounds = config.recipe != "statistics"
    if rounds and dp.cohort_size > population:
        raise InfeasibleError(
            f"dp.cohort_size is {dp.cohort_size}, but the population has {population} devices",
            fix=f"set dp.cohort_size to at most {population} or enrol more devices",
        )
    if rounds and (config.aggregation.report_goal or 0) > dp.cohort_size:
        raise InfeasibleError(
            f"aggregation.report_goal is {config.aggregation.report_goal}, but a round invites "
            f"{dp.cohort_size} devices: every round would be void",
            fix="set aggregation.report_goal to at most dp.cohort_size",
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


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "(whole file)"


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")
