"""A run that asks for other figures than the approved file runs under a file of its own.

``homebody simulate --mechanism``, ``--rounds``, ``--cohort`` and ``--recipe`` ask what another
config would do. The answer is a new config, with a digest of its own, that keeps every rule; the
run's folder holds it, and devices check against it. Nothing runs under a digest that does not
describe it.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import tomli_w
from pydantic import ValidationError

from .blt import BltParameters
from .config import PrivacyConfig
from .errors import PolicyViolationError
from .premises import require_premises
from .protection import Mechanism, Protection, Recipe


def variant(
    config: PrivacyConfig,
    *,
    population: int,
    mechanism: Mechanism | None = None,
    rounds: int | None = None,
    cohort_size: int | None = None,
    recipe: Recipe | None = None,
    without: Collection[str] = (),
) -> PrivacyConfig:
    """Return the config with another mechanism, length, cohort or recipe; itself if none changes.

    Args:
        config: The file.
        population: Devices of the run. Public.
        mechanism: Another mechanism; its premises are filled in: for ``blt`` the widest
            separation the cohort allows, for ``gaussian`` secret coins. A separation that stands
            in the file is kept.
        rounds: Another length, at most the file's.
        cohort_size: Another expected cohort.
        recipe: Another recipe. Of ``both`` the rounds alone keep their noise; otherwise noise
            that stands in the file is taken out. A run without rounds is one of ``blt``, which
            assumes nothing about who comes, and releases each figure once.
        without: Metrics the run does not release.

    Raises:
        ValueError: If ``rounds`` or ``cohort_size`` is below 1.
        PolicyViolationError: If more rounds than the file's are asked for, or the rules refuse
            the result.
    """
    dp = config.dp
    for name, asked_for in (("rounds", rounds), ("cohort_size", cohort_size)):
        if asked_for is not None and asked_for < 1:
            raise ValueError(f"{name} must be at least 1, got {asked_for}")
    if rounds is not None and rounds > dp.rounds:
        raise PolicyViolationError(
            f"--rounds {rounds} is above dp.rounds = {dp.rounds}",
            fix="ask for fewer rounds, or change dp.rounds in privacy.toml",
        )
    if recipe == "statistics":
        mechanism = "blt"
    mechanism, rounds = mechanism or dp.noise, rounds or dp.rounds
    cohort_size = cohort_size or dp.cohort_size
    values = config.model_dump(by_alias=True)
    if (mechanism, rounds, cohort_size) != (dp.mechanism, dp.rounds, dp.cohort_size):
        asked = {"mechanism": mechanism, "rounds": rounds, "cohort_size": cohort_size}
        values["dp"] |= asked | _premises(dp, population, **asked)  # type: ignore[arg-type]
        values["aggregation"]["report_goal"] = _goal(config, mechanism, cohort_size)
    if recipe not in (None, config.recipe):
        _cook(values, recipe)
    values["metrics"] = {k: v for k, v in values["metrics"].items() if k not in without}
    return _checked(config, values)


def completed(
    config: PrivacyConfig,
    *,
    noise_multiplier: float | None,
    parameters: BltParameters | None,
    statistics: Mapping[str, float] | None = None,
) -> PrivacyConfig:
    """Return the config with the noise of a run written into it: what devices count by.

    Args:
        config: Config of the run.
        noise_multiplier: Noise on the sum / clip norm; None without rounds.
        parameters: Strategy of ``blt``; None for ``gaussian`` and without rounds.
        statistics: Fields of ``[statistics]`` that were found by rule; None leaves it.
    """
    values = config.model_dump(by_alias=True)
    values["dp"]["noise_multiplier"] = noise_multiplier
    if parameters is not None:
        values["dp"]["blt"] = parameters.to_dict()
    if statistics is not None:
        values["statistics"] |= statistics
    done = PrivacyConfig.model_validate(values)
    return config if done == config else done


def to_toml(config: PrivacyConfig) -> str:
    """Return a config as a file that ``PrivacyConfig.load`` reads back to the same digest."""
    values = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    return tomli_w.dumps(values)


def _premises(
    dp: Protection, population: int, *, mechanism: Mechanism, rounds: int, cohort_size: int
) -> dict[str, Any]:
    if mechanism == "gaussian":
        least = math.ceil(cohort_size + 5.0 * math.sqrt(cohort_size))
        changed = mechanism != dp.mechanism  # the file's cap is not one of secret cohorts
        return {
            "sampling": "poisson",
            "amplification": True,
            "min_separation": 1,
            "max_rounds_per_device": rounds,
            "cohort_cap": max(dp.cohort_cap, least) if changed else dp.cohort_cap,
            "noise_multiplier": None,
            "blt": None,
        }
    own = dp.mechanism == "blt"
    widest = dp.min_separation if own else max(1, population // cohort_size)
    separation = min(rounds, widest)
    joins = -(-rounds // separation)
    same = own and (rounds, separation) == (dp.rounds, dp.min_separation)
    return {
        "sampling": "none",
        "amplification": False,
        "min_separation": separation,
        "max_rounds_per_device": dp.max_rounds_per_device if same else joins,
        "cohort_cap": max(dp.cohort_cap, cohort_size),
        "adaptive_clip": False,
        "noise_multiplier": None,
        "blt": dp.blt.model_dump() if same and dp.blt else None,
    }


def _goal(config: PrivacyConfig, mechanism: Mechanism, cohort_size: int) -> int | None:
    """Return the goal's share of another cohort: of secret cohorts there is none."""
    goal = config.aggregation.report_goal
    if goal is None or mechanism == "gaussian":
        return None
    return max(1, goal * cohort_size // config.dp.cohort_size)


def _cook(values: dict[str, Any], recipe: Recipe | None) -> None:
    """Change a config's recipe in place: noise that another recipe's budget solved is taken out."""
    if recipe == "rounds":  # their own noise may stay: without statistics it costs less
        values["statistics"] = None
        for metric in values["metrics"].values():
            metric["releases_per_run"] = min(metric["releases_per_run"], values["dp"]["rounds"])
        return
    values["dp"]["noise_multiplier"] = None
    own = values["statistics"] or {}
    kept = {name: own[name] for name in ("window", "head") if name in own}
    values["statistics"] = {"recipe": recipe, **kept}
    if recipe == "statistics":
        values["dp"]["blt"] = None
        for metric in values["metrics"].values():
            metric["releases_per_run"] = 1


def _checked(config: PrivacyConfig, values: dict[str, Any]) -> PrivacyConfig:
    try:
        changed = PrivacyConfig.model_validate(values)
    except ValidationError as error:
        reasons = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise PolicyViolationError(
            f"the run that is asked for breaks a rule of privacy.toml: {reasons}",
            fix="ask for what the file allows, or change the file",
        ) from error
    require_premises(changed, "the run that is asked for")
    return config if changed == config else changed
