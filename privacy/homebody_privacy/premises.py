"""What must be true of a config before any figure of it means something; nothing runs without.

These are the rules of the policy (``DP-001`` and on) that no waiver lifts and no simulation may
pass over: an epsilon computed although one of them is broken would be about another mechanism. The
policy reports them beside its other rules; whatever trains, plans or answers refuses them here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from .errors import PolicyViolationError

if TYPE_CHECKING:
    from .config import PrivacyConfig

LEAVING: Final = "training"
"""The purpose every update is sent under."""


@dataclass(frozen=True, slots=True)
class BrokenPremise:
    """A rule the config breaks.

    Attributes:
        rule: Stable id of the policy's rule.
        path: Field that is at fault, dotted.
        why: What is wrong, in one sentence. Public.
    """

    rule: str
    path: str
    why: str


def broken_premises(config: "PrivacyConfig") -> tuple[BrokenPremise, ...]:
    """Return every premise a config breaks, in the order of the file; none for one that may run."""
    found = [*_purposes(config), *_unit(config), *_mechanism(config), *_participation(config)]
    return tuple(BrokenPremise(*one) for one in [*found, *_choices(config)])


def require_premises(config: "PrivacyConfig", where: str = "privacy.toml") -> None:
    """Refuse a config that may not run, whatever a policy says.

    Args:
        config: A config that follows its schema.
        where: File it is from, for the message.

    Raises:
        PolicyViolationError: Naming each rule and field.
    """
    broken = broken_premises(config)
    if broken:
        lines = [f"{where}: {one.path}: {one.why} [{one.rule}]" for one in broken]
        raise PolicyViolationError(
            "\n".join(lines), fix="correct the named fields: no waiver lifts these rules"
        )


_Found = Iterator[tuple[str, str, str]]


def _purposes(config: "PrivacyConfig") -> _Found:
    known = set(config.purposes)
    for name, purpose in config.purposes.items():
        for other in purpose.requires:
            if other not in known:
                yield "CON-013", f"purposes.{name}.requires", f"{other} is no purpose of this file"
    for name, group in config.features.items():
        for other in group.allow:
            if other not in known:
                yield "FEA-001", f"features.{name}.allow", f"{other} is no purpose of this file"
    try:
        TopologicalSorter({name: p.requires for name, p in config.purposes.items()}).prepare()
    except CycleError as error:
        yield "CON-014", "purposes.*.requires", f"goes in a circle: {' -> '.join(error.args[1])}"
    training = config.purposes.get(LEAVING)
    if training is None:
        yield "CON-013", f"purposes.{LEAVING}", "is missing: updates are sent under it"
    elif not training.leaves_device:
        yield "CON-013", f"purposes.{LEAVING}.leaves_device", "must be true: updates are sent"


def _unit(config: "PrivacyConfig") -> _Found:
    dp = config.dp
    if dp.mechanism == "none":
        if dp.record is not None and dp.record.enabled:
            why = "record-level DP on the device protects one row, not one user"
            yield "DP-005", "dp.mechanism", why
        else:
            yield "DP-001", "dp.mechanism", "is none: nobody is protected"
    if dp.unit != "user":
        yield "DP-003", "dp.unit", f"is {dp.unit}, must be user: all data of one device"
    if dp.adjacency != "zero_out":
        why = f"is {dp.adjacency}: figures hold for zero_out, whose contribution becomes zero"
        yield "DP-012", "dp.adjacency", why
    if dp.noise_by != "server":
        why = "is devices, which add no noise yet: nothing would protect the sum"
        yield "DP-009", "dp.noise_by", why


def _mechanism(config: "PrivacyConfig") -> _Found:
    dp = config.dp
    secret = dp.mechanism == "gaussian" and dp.sampling == "poisson"
    if dp.amplification and not secret:
        why = "credit for secret coins needs mechanism gaussian and sampling poisson"
        yield "DP-007", "dp.amplification", why
    if dp.mechanism == "gaussian":
        yield from _gaussian(config)
    elif dp.mechanism == "blt":
        if dp.sampling != "none":
            why = "must be none with blt, which takes no credit for who comes"
            yield "DP-010", "dp.sampling", why
        if dp.blt is not None:
            try:
                dp.blt.parameters()
            except ValueError as error:
                yield "DP-011", "dp.blt", f"has no known sensitivity: {error}"


def _gaussian(config: "PrivacyConfig") -> _Found:
    dp = config.dp
    if dp.sampling != "poisson":
        yield "DP-010", "dp.sampling", "must be poisson with gaussian"
    if not dp.amplification:
        yield "DP-010", "dp.amplification", "must be true with gaussian: both figures are printed"
    least = dp.cohort_size + 5.0 * math.sqrt(dp.cohort_size)
    if dp.cohort_cap < least:
        why = (
            f"must be at least {math.ceil(least)} = cohort_size + 5 * sqrt(cohort_size): a cap "
            "that often binds costs most of the amplification"
        )
        yield "DP-010", "dp.cohort_cap", why
    if (dp.min_separation, dp.max_rounds_per_device) != (1, dp.rounds):
        why = (
            "with gaussian min_separation is 1 and max_rounds_per_device is rounds: a device that "
            "stays away because it came before is not drawn by a coin"
        )
        yield "DP-010", "dp.min_separation", why
    if dp.blt is not None:
        yield "DP-010", "dp.blt", "is the strategy of mechanism blt"
    if config.aggregation.report_goal is not None:
        why = "needs mechanism blt: with gaussian no decision may depend on how many came"
        yield "DP-010", "aggregation.report_goal", why


def _participation(config: "PrivacyConfig") -> _Found:
    dp = config.dp
    if dp.min_separation > dp.rounds:
        yield "DP-011", "dp.min_separation", "must be at most rounds"
    elif dp.mechanism == "blt" and dp.max_rounds_per_device > -(-dp.rounds // dp.min_separation):
        most = -(-dp.rounds // dp.min_separation)
        why = f"is more than the {most} rounds that fit into rounds at min_separation"
        yield "DP-011", "dp.max_rounds_per_device", why


def _choices(config: "PrivacyConfig") -> _Found:
    dp = config.dp
    if dp.adaptive_clip and dp.mechanism == "blt":
        why = "needs mechanism gaussian: correlated noise cancels over rounds of one clip norm only"
        yield "DP-013", "dp.adaptive_clip", why
    if dp.tuning_data == "private" and dp.tuning_runs == 0:
        why = "must say how many runs there were when tuning_data is private"
        yield "DP-013", "dp.tuning_runs", why
