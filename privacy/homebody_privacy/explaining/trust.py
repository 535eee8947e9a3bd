"""Whom a promise holds against, in whom it needs trust, and what it does not cover."""

import math
from typing import Final

from homebody_privacy.config import PrivacyConfig

_COVERED_BY_NOBODY: Final = (
    "your own screen",
    "facts about groups",
    "a second device of yours",
    "who takes part and when, network addresses and timing",
)


def not_against(config: PrivacyConfig) -> tuple[str, ...]:
    """Return toward whom the promise does not hold."""
    found = []
    if config.dp.mechanism == "gaussian":
        found.append("whoever sees who takes part: toward them the figure without credit holds")
    if not config.aggregation.secagg:
        found.append("the server: it sees each device's update before the noise")
    return tuple(found)


def trusted(config: PrivacyConfig) -> tuple[str, ...]:
    """Return in whom a promise needs trust, and for what: the operator's word."""
    dp, sums = config.dp, config.aggregation
    found = []
    if dp.mechanism != "none" and dp.noise_by == "server":
        found.append("the server, to add the noise and to keep it and the sum before it secret")
    if dp.sampling == "poisson":
        found.append("the server, to toss a fair coin for each device and to keep it secret")
    if sums.secagg:
        share = f"{100 * sums.max_corrupt:g} %"
        found.append(
            f"the nodes of a sum, of which no more than {share} may work with the server, and "
            "whoever enrols them: then the server sees the sum and no single update"
        )
    if sums.report_goal is not None:
        found.append(
            f"the server, to release nothing of a round with under {sums.report_goal} replies"
        )
    if config.ledger.witness == "none":
        found.append("the operator, to show everybody one and the same ledger: nobody cosigns it")
    else:
        found.append(
            "whoever holds the witness's key, to cosign one history only: without them the "
            "operator could show two ledgers"
        )
    if dp.tuning_data != "private":
        found.append(f"whoever set it up, that settings were tuned on {dp.tuning_data} data alone")
    return tuple(found)


def enforced(config: PrivacyConfig) -> tuple[str, ...]:
    """Return what the person's own device sees to, whatever the server says."""
    dp = config.dp
    found = [f"it sends one update of length at most {dp.clip_norm:g} a round"]
    if config.recipe != "rounds":
        found.append("it adds to each one-shot statistic once, a vector of length at most 1")
    if config.recipe != "statistics" and dp.mechanism == "blt":
        found.append(
            f"no sampling is assumed: it joins at most {_rounds(config)} a run, "
            f"{dp.min_separation} apart"
        )
    found.append(_own_budget(config))
    return tuple(found)


def uncovered(config: PrivacyConfig) -> tuple[str, ...]:
    """Return what a promise does not cover."""
    record = config.dp.record
    if record is not None and record.enabled:
        own = "single events: the record level is a promise of its own, never added to this one"
        return (*_COVERED_BY_NOBODY, own)
    return _COVERED_BY_NOBODY


def _own_budget(config: PrivacyConfig) -> str:
    dp = config.dp
    own = dp.device_epsilon_max
    if own is None:
        own = dp.epsilon_max if dp.mechanism == "blt" else math.inf
    if math.isinf(own):
        return "it counts what it spends, and sets no limit of its own"
    return f"it stops at epsilon {own:g} by its own count, over its whole life"


def _rounds(config: PrivacyConfig) -> str:
    joins = min(config.dp.max_rounds_per_device, config.dp.rounds)
    return "1 round" if joins == 1 else f"{joins} rounds"
